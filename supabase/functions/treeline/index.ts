/** The Supabase function `treeline`: all of the product is in `functions/`. */
import { serve } from '../../../functions/platforms/supabase.ts';

serve('treeline');
