// Search, sort and filter every slice. Names and states of models reach the page as text only, never as markup.
'use strict';
(async () => {
  const PAGE = 20;
  const panel = document.getElementById('drilldown');
  if (!panel || typeof DecompressionStream === 'undefined') return;
  const packed = Uint8Array.from(atob(document.getElementById('slices').textContent.trim()), char => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const data = await new Response(stream).json();
  const {units} = data, total = data.name.length;
  const low = data.name.map(name => name.toLowerCase());
  const find = id => document.getElementById(id);
  const [search, layer, component, counted, state, body, said] =
    ['d-search', 'd-layer', 'd-component', 'd-counted', 'd-state', 'd-body', 'd-said'].map(find);
  const [back, forth] = [find('d-back'), find('d-forth')];
  const heads = [...panel.querySelectorAll('th[data-key]')];

  const fixed = (name, i, digits) => data[name][i] === null ? null : (data[name][i] / units[name]).toFixed(digits).replace('-', '\u2212');
  const share = (name, i) => {
    const value = data[name][i];
    if (value === null) return null;
    const percent = 100 * value / units[name];
    return (value === units[name] || value === 0 ? percent.toFixed(0) : percent.toFixed(name === 'coverage' ? 3 : 4)) + '\u00a0%';
  };
  const alpha = i => {
    const value = fixed('alpha', i, 4), error = data.alpha_se[i];
    if (value === null || error === null) return value;
    const half = 1.96 * error / units.alpha_se;
    return `${value} \u00b1 ${half < 0.00005 ? '<0.0001' : half.toFixed(4)}`;
  };
  const cells = [
    i => data.elements[i].toLocaleString('en'),
    alpha,
    i => fixed('cos_fit', i, 5),
    i => fixed('cos_expected', i, 5),
    i => share('coverage', i),
    i => share('bit_exact_rate', i),
    i => data.states[data.status[i]] === 'ok' ? (data.votes[i] ? 'votes' : 'does not vote') : data.states[data.status[i]],
  ];

  const fill = (select, words) => words.forEach((word, place) => select.add(new Option(word.replaceAll('_', ' '), place)));
  fill(layer, data.layers);
  fill(component, data.components);

  let chosen = [], from = 0, key = null, falling = false;

  function choose() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const one = layer.value === '' ? -1 : +layer.value, other = component.value === '' ? -1 : +component.value;
    const whole = units.bit_exact_rate, ok = data.states.indexOf('ok');
    chosen = [];
    for (let i = 0; i < total; i++) {
      if (one >= 0 && data.layer[i] !== one) continue;
      if (other >= 0 && data.component[i] !== other) continue;
      if (counted.checked && !data.votes[i]) continue;
      if (state.value === 'short' && !(data.bit_exact_rate[i] !== null && data.bit_exact_rate[i] < whole)) continue;
      if (state.value === 'odd' && data.status[i] === ok) continue;
      if (words.every(word => low[i].includes(word))) chosen.push(i);
    }
    if (key) {
      const column = key === 'name' ? low : data[key], sign = falling ? -1 : 1;
      chosen.sort((a, b) => {
        const x = column[a], y = column[b];
        if (x === null || y === null) return (x === null) - (y === null) || a - b; // what is missing stands last either way
        return (x < y ? -sign : x > y ? sign : 0) || a - b;
      });
    }
    from = 0;
    show();
  }

  function show() {
    const rows = chosen.slice(from, from + PAGE).map(i => {
      const row = document.createElement('tr'), head = document.createElement('th');
      head.scope = 'row';
      head.className = 'name';
      head.textContent = data.name[i];
      row.append(head);
      cells.forEach((cell, place) => {
        const box = document.createElement('td'), text = cell(i);
        box.textContent = text === null ? 'not computed' : text;
        box.className = place === cells.length - 1 ? 'state' : text === null ? 'n absent' : 'n';
        row.append(box);
      });
      return row;
    });
    body.replaceChildren(...rows);
    const last = Math.min(from + PAGE, chosen.length), count = chosen.length.toLocaleString('en');
    said.textContent = chosen.length
      ? `${(from + 1).toLocaleString('en')} to ${last.toLocaleString('en')} of ${count}${chosen.length < total ? ` (of ${total.toLocaleString('en')} in all)` : ''}`
      : 'No slice fits.';
    back.disabled = from === 0;
    forth.disabled = last >= chosen.length;
  }

  heads.forEach(head => head.querySelector('button').addEventListener('click', () => {
    const same = key === head.dataset.key;
    falling = same ? !falling : head.dataset.first === 'falling';
    key = head.dataset.key;
    heads.forEach(each => each.setAttribute('aria-sort', each !== head ? 'none' : falling ? 'descending' : 'ascending'));
    choose();
  }));
  let waiting = 0;
  search.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(choose, 120); });
  [layer, component, counted, state].forEach(each => each.addEventListener('change', choose));
  const turn = by => { from += by; show(); panel.querySelector('.scroll').scrollIntoView({block: 'nearest'}); };
  back.addEventListener('click', () => turn(-PAGE));
  forth.addEventListener('click', () => turn(PAGE));
  choose();
  panel.hidden = false;
  find('no-drilldown').hidden = true;
})();
