// Parts of the program come while one works. A network that changes meanwhile (a train, a VPN, a container's bridge)
// breaks what is on its way; the page must not end of that.
(() => {
  const pauses = [100, 400, 1500, 4000];
  const after = (pause) => new Promise((resolve) => setTimeout(resolve, pause));

  // What was fetched is read whole, so that a part which breaks off in the middle is asked for again too.
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
        await after(pause);
      }
    }
  };

  // The first part is a module, which no fetch of ours brings: Leptos imports it once, and a page that lost it would
  // stay without script. Nothing else is imported, so a lost module is the first part, whatever the browser calls it.
  const isLost = (error) =>
    error instanceof TypeError && /dynamically imported module|importing a module script/i.test(error.message);
  const start = async () => {
    const { href: module } = document.querySelector('link[rel="modulepreload"]');
    const { href: module_or_path } = document.querySelector('link[rel="preload"][as="fetch"]');
    for (const pause of pauses) {
      await after(pause);
      try {
        const program = await import(module);
        await program.default({ module_or_path });
        return program.hydrate();
      } catch (error) {
        if (!isLost(error)) throw error;
        if (pause !== pauses.at(-1)) continue;
        // Some browsers keep a module that failed: there only a new page asks again. Once.
        if (performance.getEntriesByType('navigation')[0]?.type === 'reload') throw error;
        location.reload();
      }
    }
  };
  const restart = (event) => {
    if (!isLost(event.reason)) return;
    event.preventDefault();
    removeEventListener('unhandledrejection', restart);
    start();
  };
  addEventListener('unhandledrejection', restart);
})();
