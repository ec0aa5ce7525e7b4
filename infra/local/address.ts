/** Where a service of a local run is reached, for people. */
import { z } from 'zod';

export const addressSchema = z.object({ title: z.string(), url: z.string() });

/** A service and its address. */
export type Address = z.infer<typeof addressSchema>;
