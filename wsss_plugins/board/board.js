// Reads the page again every few seconds and replaces what has changed.
(() => {
  const SECONDS = 3;
  let shown = document.querySelector('main').innerHTML;

  const titles = (main, open) =>
    [...main.querySelectorAll('details')].filter((each) => open(each));

  function replace(fresh) {
    const main = document.querySelector('main');
    const opened = new Set(
      titles(main, (each) => each.open).map((each) => each.dataset.key),
    );
    main.innerHTML = shown = fresh;
    for (const each of titles(main, (one) => opened.has(one.dataset.key))) {
      each.open = true;
    }
  }

  async function refresh() {
    const busy = document.activeElement?.matches('select, input');
    if (!document.hidden && !busy) {
      try {
        const answer = await fetch(location.href);
        const text = answer.ok ? await answer.text() : null;
        if (text !== null) {
          const page = new DOMParser().parseFromString(text, 'text/html');
          const fresh = page.querySelector('main').innerHTML;
          if (fresh !== shown) replace(fresh);
        }
      } catch {
        const note = document.querySelector('[data-live]');
        if (note) note.textContent = 'The board has ended: start it again to go on.';
        shown = '';
      }
    }
    setTimeout(refresh, 1000 * SECONDS);
  }

  document.addEventListener('change', (event) => event.target.form?.submit());
  setTimeout(refresh, 1000 * SECONDS);
})();
