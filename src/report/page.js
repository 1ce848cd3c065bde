/* SPDX-License-Identifier: Apache-2.0 */
/* The script of the page: sorting of tables, filtering of cards, labelling. The page is complete without it.
 * Texts are set as text or as values of fields, never as markup. */
'use strict';

/* Tables sort by the column whose head is clicked. */
document.querySelectorAll('table.sortable').forEach(function (table) {
  table.querySelectorAll('th').forEach(function (head, k) {
    var up = false;
    head.addEventListener('click', function () {
      var body = table.tBodies[0], rows = Array.from(body.rows);
      up = !up;
      rows.sort(function (x, y) {
        var p = x.cells[k].getAttribute('data-v'), q = y.cells[k].getAttribute('data-v');
        if (p === null) {
          p = x.cells[k].textContent;
          q = y.cells[k].textContent;
          return (p < q ? -1 : p > q ? 1 : 0) * (up ? 1 : -1);
        }
        p = parseFloat(p);
        q = parseFloat(q);
        return isNaN(p) ? 1 : isNaN(q) ? -1 : up ? q - p : p - q;
      });
      rows.forEach(function (row) { body.appendChild(row); });
    });
  });
});

/* Cards that contain a text, in what they say or in their label. */
var filter = document.getElementById('filter');
if (filter) filter.addEventListener('input', function () {
  var word = filter.value.toLowerCase(), n = 0;
  document.querySelectorAll('.card').forEach(function (card) {
    var text = card.textContent;
    card.querySelectorAll('input[type=text]').forEach(function (field) { text += '\n' + field.value; });
    card.hidden = text.toLowerCase().indexOf(word) < 0;
    n += card.hidden ? 0 : 1;
  });
  document.getElementById('shown').textContent = n + ' shown';
});

/* ---- labels.csv: the same rules as the program's own reader and writer ---- */

/* A spreadsheet would compute a text that begins like a formula: a ' before it, taken away again by reading. */
function csvField(text) {
  if (/^'*[=+\-@\t\r]/.test(text)) text = "'" + text;
  return /[",\r\n]|^\s|\s$/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
}

function csvValue(text) { return /^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text; }

/* Rows of fields; throws a text that names the line. */
function csvRows(text) {
  var rows = [], row = [], at = 0, line = 1, start = 1;
  if (text.charCodeAt(0) === 0xfeff) at = 1;
  while (at < text.length) {
    var field = '';
    if (text[at] === '"') {
      for (at++; ; at++) {
        if (at >= text.length) throw 'line ' + start + ': a quote is not closed';
        if (text[at] === '"' && text[at + 1] !== '"') break;
        if (text[at] === '"') at++;
        if (text[at] === '\n') line++;
        field += text[at];
      }
      at++;
      if (at < text.length && ',\r\n'.indexOf(text[at]) < 0) throw 'line ' + line + ': text behind a closing quote';
    } else {
      while (at < text.length && ',\r\n'.indexOf(text[at]) < 0) field += text[at++];
    }
    row.push(field);
    if (text[at] === ',' && at + 1 < text.length) {
      at++;
      continue;
    }
    if (text[at] === ',') row.push('');
    if (text[at] === '\r' && text[at + 1] === '\n') at++;
    at++;
    if (row.some(function (f) { return f !== ''; })) rows.push({line: start, fields: row});
    row = [];
    start = ++line;
  }
  return rows;
}

/* ---- Labelling ---- */

(function () {
  var bar = document.getElementById('bar'), shape = document.getElementById('label-fields');
  if (!bar || !shape) return;
  var run = 'crosscoder/' + bar.getAttribute('data-run') + '/', mine = 'crosscoder/annotator';
  var who = document.getElementById('who'), note = document.getElementById('note');
  var file = document.getElementById('file'), undo = document.getElementById('undo');
  var cards = [], byFeature = {}, current = null, before = null, unsaved = false;
  var names = ['description', 'languages', 'annotator'];

  /* localStorage, or a memory that ends with the page. */
  var memory = {}, store = null;
  try {
    store = window.localStorage;
    store.setItem('crosscoder/probe', '1');
    store.removeItem('crosscoder/probe');
  } catch (error) {
    store = null;
  }
  function lose() {
    store = null;
    document.getElementById('lost').hidden = false;
  }
  if (!store) lose();
  function keep(key, value) {
    memory[key] = value;
    if (!store) return;
    try {
      if (value === null) store.removeItem(key);
      else store.setItem(key, value);
    } catch (error) {
      lose();
    }
  }
  function recall(key) {
    if (key in memory || !store) return key in memory ? memory[key] : null;
    try {
      return store.getItem(key);
    } catch (error) {
      lose();
      return null;
    }
  }
  function say(text, bad) {
    note.textContent = text;
    note.className = bad ? 'warn' : '';
  }

  /* What the fields of a card hold, and the other way round. */
  function read(card) {
    var record = {}, chosen = card.form.querySelector('input[type=radio]:checked');
    names.forEach(function (name) { record[name] = card.form.querySelector('[name=' + name + ']').value.trim(); });
    record.confidence = chosen ? chosen.value : '';
    return record;
  }
  function write(card, record) {
    names.forEach(function (name) {
      card.form.querySelector('[name=' + name + ']').value = typeof record[name] === 'string' ? record[name] : '';
    });
    card.form.querySelectorAll('input[type=radio]').forEach(function (radio) {
      radio.checked = radio.value === record.confidence;
    });
  }
  function isEmpty(record) { return !(record.description || record.languages || record.confidence); }
  function load(card) {
    var record = {};
    try {
      record = JSON.parse(recall(run + card.feature) || '{}') || {};
    } catch (error) {
      record = {};
    }
    write(card, record);
  }
  function hold(card) {
    var record = read(card);
    keep(run + card.feature, isEmpty(record) && !record.annotator ? null : JSON.stringify(record));
    unsaved = true;
    count();
  }
  function count() {
    var n = 0, used = {}, list = document.getElementById('used');
    cards.forEach(function (card) {
      var text = card.form.querySelector('[name=description]').value.trim();
      card.element.classList.toggle('done', text !== '');
      if (text) used[text] = true;
      n += text ? 1 : 0;
    });
    document.getElementById('progress').textContent = n + ' of ' + cards.length + ' labelled';
    var meter = document.getElementById('meter');
    meter.max = cards.length;
    meter.value = n;
    list.textContent = '';
    Object.keys(used).sort().forEach(function (text) {
      var option = document.createElement('option');
      option.value = text;
      list.appendChild(option);
    });
  }

  document.querySelectorAll('.card .label').forEach(function (place) {
    var form = document.importNode(shape.content, true).firstElementChild;
    var card = {element: place.closest('.card'), form: form, feature: place.getAttribute('data-feature'),
                csv: place.getAttribute('data-csv'), others: place.querySelector('.others')};
    form.querySelectorAll('input[type=radio]').forEach(function (radio) { radio.name = 'confidence-' + card.feature; });
    form.setAttribute('aria-label', 'Label of feature ' + card.feature);
    form.addEventListener('submit', function (event) { event.preventDefault(); });
    form.addEventListener('input', function () { hold(card); });
    place.insertBefore(form, place.firstChild);
    card.element.tabIndex = -1;
    card.element.addEventListener('focusin', function () { mark(card); });
    card.element.addEventListener('click', function () { mark(card); });
    cards.push(card);
    byFeature[card.feature] = card;
    load(card);
  });
  bar.hidden = false;
  who.value = recall(mine) || '';
  function showName() {
    cards.forEach(function (card) { card.form.querySelector('[name=annotator]').placeholder = who.value; });
  }
  who.addEventListener('input', function () {
    keep(mine, who.value.trim());
    showName();
  });
  showName();
  count();
  function place() { document.documentElement.style.setProperty('--bar', bar.offsetHeight + 'px'); }
  window.addEventListener('resize', place);
  place();

  /* The same page in another window. */
  window.addEventListener('storage', function (event) {
    if (event.key === mine) {
      who.value = event.newValue || '';
      showName();
    } else if (event.key && event.key.indexOf(run) === 0 && byFeature[event.key.slice(run.length)]) {
      delete memory[event.key];
      load(byFeature[event.key.slice(run.length)]);
      count();
    }
  });
  window.addEventListener('beforeunload', function (event) {
    if (!store && unsaved) event.preventDefault();
  });

  /* ---- From card to card ---- */

  function mark(card) {
    if (current === card) return;
    if (current) {
      current.element.classList.remove('current');
      current.element.removeAttribute('aria-current');
    }
    current = card;
    if (!card) return;
    card.element.classList.add('current');
    card.element.setAttribute('aria-current', 'true');
  }
  function field(card, name) { card.form.querySelector('[name=' + name + ']').focus({preventScroll: true}); }
  function go(card, label) {
    if (!card) {
      say('There is no further card.');
      return;
    }
    mark(card);
    card.element.scrollIntoView({block: 'start'});
    if (label) field(card, 'description');
    else card.element.focus({preventScroll: true});
  }
  function step(by, wanted) {
    var at = current ? cards.indexOf(current) + by : by > 0 ? 0 : cards.length - 1;
    while (cards[at] && (cards[at].element.hidden || (wanted && !wanted(cards[at])))) at += by;
    return cards[at];
  }
  function isOpen(card) { return !card.form.querySelector('[name=description]').value.trim(); }
  function nextOpen() {
    var card = step(1, isOpen);
    if (!card) card = cards.filter(function (c) { return !c.element.hidden && isOpen(c); })[0];
    return card;
  }
  function choose(card, k, focus) {
    card.form.querySelectorAll('input[type=radio]').forEach(function (radio, i) {
      radio.checked = i === k - 1;
      if (radio.checked && focus) radio.focus({preventScroll: true}); /* Tab goes on from there */
    });
    hold(card);
  }

  document.addEventListener('keydown', function (event) {
    var key = event.key, target = event.target, digit = key.length === 1 ? '0123'.indexOf(key) : -1;
    if (event.isComposing) return; /* an input method is at work */
    if ((event.ctrlKey || event.metaKey) && !event.altKey && key.toLowerCase() === 's') {
      event.preventDefault();
      save();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    var inside = current && current.form.contains(target), radio = target.type === 'radio';
    if (inside && key === 'Enter') {
      event.preventDefault();
      go(step(event.shiftKey ? -1 : 1), true);
      return;
    }
    if (key === 'Escape' && /^(INPUT|TEXTAREA)$/.test(target.tagName)) {
      if (inside) current.element.focus({preventScroll: true});
      else target.blur();
      return;
    }
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !radio) return;
    if (digit >= 0 && current) choose(current, digit, inside && radio);
    else if (key === 'j') go(step(1));
    else if (key === 'k') go(step(-1));
    else if (key === 'u') go(nextOpen(), true);
    else if (key === 's') save();
    else if (key === 'i') file.click();
    else if (key === '/' && filter) filter.focus();
    else if (key === 'l' || (key === 'Enter' && target.classList && target.classList.contains('card'))) {
      if (!current) mark(step(1));
      if (current) go(current, true);
    } else return;
    event.preventDefault();
  });

  /* ---- Saving ---- */

  function save() {
    var name = who.value.trim(), n = 0, text = bar.getAttribute('data-header') + '\n', missing = false;
    cards.forEach(function (card) {
      var record = read(card), person = record.annotator || name;
      if (isEmpty(record)) return;
      n++;
      missing = missing || !person;
      text += card.csv + ',' + [record.description, record.languages, person, record.confidence].map(csvField).join(',') + '\n';
    });
    if (!n) {
      say('Nothing to save yet.');
      return;
    }
    if (missing) {
      say('Who are you? Your name is needed once; then save again.', true);
      who.focus();
      return;
    }
    var link = document.createElement('a'), url = URL.createObjectURL(new Blob([text], {type: 'text/csv'}));
    link.href = url;
    link.download = 'labels.csv';
    document.body.appendChild(link);
    link.click();
    link.remove();
    setTimeout(function () { URL.revokeObjectURL(url); }, 10000);
    unsaved = false;
    say(n + (n === 1 ? ' label' : ' labels') + ' saved as labels.csv.');
  }
  document.getElementById('save').addEventListener('click', save);

  /* ---- Reading a labels.csv ---- */

  function take(text) {
    var rows = csvRows(text), head = rows.length ? rows[0].fields.map(function (f) { return f.trim().toLowerCase(); }) : [];
    function at(row, name) {
      var k = head.indexOf(name);
      return k < 0 || row.fields[k] === undefined ? '' : csvValue(row.fields[k]).trim();
    }
    if (head.indexOf('feat_id') < 0 || head.indexOf('description') < 0)
      throw 'no columns feat_id and description' + (head.length === 1 && head[0].indexOf(';') > 0 ? ' (separated by ; instead of ,)' : '');
    var taken = 0, shown = 0, unknown = 0, people = {};
    rows.slice(1).forEach(function (row) { people[at(row, 'annotator')] = true; });
    people = Object.keys(people);
    if (!who.value.trim() && people.length === 1 && people[0]) {
      who.value = people[0];
      keep(mine, who.value);
      showName();
    }
    before = cards.map(read);
    cards.forEach(function (card) { card.others.textContent = ''; });
    rows.slice(1).forEach(function (row) {
      var card = byFeature[at(row, 'feat_id')], person = at(row, 'annotator');
      var sure = {1: 'low', 2: 'medium', 3: 'high'}[at(row, 'confidence')] || at(row, 'confidence').toLowerCase();
      var record = {description: at(row, 'description'), languages: at(row, 'languages'), confidence: sure, annotator: ''};
      if (!card) unknown++;
      else if (!person || person === who.value.trim()) {
        write(card, record);
        hold(card);
        taken++;
      } else {
        var line = document.createElement('div');
        line.textContent = person + ': ' + [record.description, record.languages, record.confidence].filter(Boolean).join(' · ');
        card.others.appendChild(line);
        shown++;
      }
    });
    undo.hidden = !taken;
    say('Taken over: ' + taken + '. Shown on their cards, of others: ' + shown + '. Without a card here: ' + unknown + '.' +
        (taken || who.value.trim() ? '' : ' Write your name first to take over your own.'));
  }
  document.getElementById('import').addEventListener('click', function () { file.click(); });
  file.addEventListener('change', function () {
    var chosen = file.files[0], reader = new FileReader();
    if (!chosen) return;
    reader.onload = function () {
      try {
        take(reader.result);
      } catch (error) {
        say(chosen.name + ': ' + (typeof error === 'string' ? error : 'cannot be read'), true);
      }
      file.value = '';
      place();
    };
    reader.onerror = function () { say(chosen.name + ': cannot be read', true); };
    reader.readAsText(chosen);
  });
  undo.addEventListener('click', function () {
    cards.forEach(function (card, k) {
      write(card, before[k]);
      hold(card);
    });
    undo.hidden = true;
    say('As it was before the import.');
  });
})();
