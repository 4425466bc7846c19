// Parts of the program come while one works. A network that changes meanwhile (a train, a VPN, a container's bridge)
// breaks what is on its way; the page must not end of that. What was fetched is read whole, so that a part which breaks
// off in the middle is asked for again too.
(() => {
  const pauses = [100, 400, 1500, 4000];
  const fetchOnce = window.fetch;
  const isPart = (url) => url.origin === location.origin && url.pathname.startsWith('/pkg/');
  window.fetch = async (resource, options) => {
    const url = new URL(resource instanceof Request ? resource.url : resource, document.baseURI);
    if (!isPart(url)) return fetchOnce(resource, options);
    for (const pause of [...pauses, null]) {
      try {
        const answer = await fetchOnce(resource, options);
        const { status, statusText, headers } = answer;
        return new Response(await answer.arrayBuffer(), { status, statusText, headers });
      } catch (error) {
        if (pause === null) throw error;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  };
})();
