/** A worker that does nothing: what starting workerd and answering costs by itself. */
export default {
  fetch: async (request: Request): Promise<Response> => {
    await request.text();
    return Response.json({ embedding: [], memoryBytes: 0 });
  },
};
