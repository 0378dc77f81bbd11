'use strict';
// The page: tabs, what a service does for them, and calls.

const byId = (id) => document.getElementById(id);
const known = JSON.parse(byId('known').textContent);
const tabs = new Set();
const opened = { demo: 0, guest: 0 };
// Other windows with this page change the counts, too.
const windows = new BroadcastChannel('tidegate-demo');
let callId = 0;
let stream = null;

function openTab(user) {
  const tab = new Tab(user, known.users[user], ++opened[user], {
    changed,
    answer: (text, isGood) => log('<', text, isGood ? '' : 'failed'),
    gone: (tab) => tabs.delete(tab) && changed(),
  });
  tabs.add(tab);
  byId('tabs').append(tab.card);
}

/// What the demo's service does when it is asked to.
async function service(method, what, body) {
  const answer = await fetch('/_tidegate/demo/' + what, {
    method,
    headers: { authorization: 'Bearer ' + known.users.demo, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  return answer.json();
}

let counts = 0;

async function count() {
  const mine = ++counts;
  const { users_online: online, users } = await service('GET', 'online').catch(() => ({}));
  // A newer one is under way.
  if (mine !== counts) return;
  byId('users').textContent = online ?? '–';
  for (const user of ['demo', 'guest']) {
    const found = (users ?? []).find((one) => one.user === user);
    byId('of-' + user).textContent = found?.sessions ?? 0;
  }
}

function changed() {
  windows.postMessage('changed');
  recount();
}

/// Now, and once the gateway has heard of what is closing.
function recount() {
  count();
  setTimeout(count, 400);
}

function tell(text) {
  byId('told').textContent = text;
}

const several = (number, what) => `${number} ${what}${number === 1 ? '' : 's'}`;

byId('push').onsubmit = async (event) => {
  event.preventDefault();
  const push = { event: 'order', data: { text: byId('text').value } };
  const { matched, acked, detail } = await service('POST', 'push', push);
  tell(detail ?? `Pushed to ${several(matched, 'tab')}; ${several(acked, 'tab')} said that it has arrived.`);
};

byId('kick').onsubmit = async (event) => {
  event.preventDefault();
  const { sessions, detail } = await service('POST', 'kick');
  tell(detail ?? `Ended ${several(sessions, 'session')} of demo.`);
};

byId('text').oninput = showCommands;

function showCommands() {
  const push = JSON.stringify({ event: 'order', data: { text: byId('text').value } });
  const quoted = push.replaceAll("'", "'\\''");
  byId('push-command').textContent = `curl -X POST http://${known.admin}/v1/users/demo/push -d '${quoted}'`;
  byId('kick-command').textContent = `curl -X DELETE http://${known.admin}/v1/users/demo/sessions`;
}

for (const user of ['demo', 'guest']) byId('more-' + user).onclick = () => openTab(user);

function log(arrow, text, kind) {
  const line = document.createElement('div');
  line.className = kind;
  line.textContent = arrow + ' ' + text;
  byId('log').append(line);
  byId('log').scrollTop = byId('log').scrollHeight;
}

function send(text) {
  const tab = [...tabs].find((tab) => tab.isOpen());
  if (!tab) return log('-', 'no tab is open', 'failed');
  log('>', text, 'sent');
  tab.socket.send(text);
}

const call = (envelope) => send(JSON.stringify({ id: ++callId, ...envelope }));

for (const [name, run] of [
  ['A service by its name', () => call({ baseUrl: 'demo', uri: 'customers' })],
  ['A route of the gateway', () => call({ uri: '/customers' })],
  ['As the old client did', () => send('{"type":"GET","baseUrl":"http://demo","uri":"customers"}')],
  ['Who the service hears', () => call({ baseUrl: 'demo', uri: 'me', headers: { authorization: 'Bearer mine' } })],
  ['Events, in a stream', () => { stream = callId + 1; call({ uri: '/sse', stream: true }); }],
  ['No more events', () => send(JSON.stringify({ op: 'cancel', id: stream ?? callId }))],
  ['A batch of three', () => send(JSON.stringify([0, 0, 0].map(() => ({ id: ++callId, uri: '/customers' }))))],
  ['An address of my choice', () => call({ baseUrl: 'http://169.254.169.254', uri: 'latest' })],
]) {
  const button = document.createElement('button');
  button.textContent = name;
  button.onclick = run;
  byId('calls').append(button);
}

byId('free').onsubmit = (event) => {
  event.preventDefault();
  send(byId('envelope').value);
};

windows.onmessage = recount;
addEventListener('pagehide', () => windows.postMessage('changed'));
// What others have changed, by the commands for instance.
setInterval(() => document.hidden || count(), 5000);
showCommands();
openTab('demo');
openTab('demo');
