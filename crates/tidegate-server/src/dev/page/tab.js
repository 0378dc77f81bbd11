'use strict';
// One tab: a WebSocket of a user, and the card that shows it.

const ROOM = 'lobby';
// Neither 1000 nor none: who closes so may come back. A page cannot pull the plug.
const CUT = 4000;

class Tab {
  constructor(user, token, number, told) {
    Object.assign(this, { user, token, told, seq: 0, last: 0, isIn: false, here: new Map(), asked: new Map() });
    this.card = document.getElementById('tab').content.firstElementChild.cloneNode(true);
    this.card.classList.add(user);
    this.part('h3').textContent = `${user}, tab ${number}`;
    this.part('.away').onclick = () => this.away();
    this.part('.network').onclick = () => (this.isOpen() ? this.cut() : this.open());
    this.part('.join').onclick = () => this.join();
    this.part('.say').onsubmit = (event) => {
      event.preventDefault();
      this.say(this.part('.say input').value);
    };
    this.open();
  }

  part(selector) {
    return this.card.querySelector(selector);
  }

  isOpen() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  open() {
    const url = location.origin.replace(/^http/, 'ws') + '/ws';
    const socket = new WebSocket(url, ['tidegate.v1.json', 'tidegate.bearer.' + this.token]);
    this.socket = socket;
    // With what it comes back; the answer is a second `welcome`.
    this.returning = this.resume && { ...this.resume, seq: this.seq };
    this.early = [];
    this.show('opening', '');
    socket.onopen = () => {
      if (this.returning) this.send({ op: 'hello', v: 1, resume: this.returning });
    };
    socket.onmessage = ({ data }) => this.received(JSON.parse(data), data);
    socket.onclose = ({ code, reason }) => this.closed(code, reason);
  }

  send(envelope) {
    if (this.isOpen()) this.socket.send(JSON.stringify(envelope));
  }

  /// Asks something that has an answer.
  ask(envelope) {
    const id = 'own-' + ++this.last;
    this.send({ id, ...envelope });
    return new Promise((answer) => this.asked.set(id, answer));
  }

  received(message, text) {
    switch (message.op) {
      case 'welcome': return this.welcome(message);
      case 'push': return this.returning ? this.early.push(message) : this.push(message);
      case 'presence': return this.changed(message);
      case 'ping': return this.send({ op: 'pong', t: message.t });
      case 'goaway': return this.note('told to go: ' + message.cause);
    }
    const answer = this.asked.get(message.id);
    this.asked.delete(message.id);
    return answer ? answer(message) : this.told.answer(text, !message.error);
  }

  welcome({ session, resume }) {
    const returning = this.returning;
    if (returning && !this.isGreeted) {
      this.isGreeted = true;
      return;
    }
    this.isGreeted = false;
    this.returning = null;
    this.resume = { session, token: resume.token };
    this.caughtUp = resume.continued ? resume.seq : 0;
    this.part('.session').textContent = session;
    this.show('open', 'open');
    if (!returning) {
      this.note('open');
    } else if (resume.continued) {
      this.note(resume.recovered ? 'back, and nothing is lost' : 'back; something is lost', !resume.recovered);
    } else {
      this.seq = 0;
      this.isIn = false;
      this.note('a new session: there was nothing to go on with');
      // These are of this session, and do not come again.
      this.early.forEach((message) => this.push(message));
    }
    if (this.isIn) this.look();
    this.draw();
    this.told.changed();
  }

  push({ seq, event, data, from, room }) {
    this.seq = seq;
    this.send({ op: 'ack', seq });
    const what = typeof data === 'string' ? data : (data?.text ?? JSON.stringify(data));
    const who = room ? `${from ?? event} in ${room}` : event;
    this.line(`${who}: ${what}`, seq <= this.caughtUp ? 'push missed' : 'push', seq);
  }

  async join() {
    if (this.isIn) {
      const { error } = await this.ask({ op: 'unsub', room: ROOM });
      this.isIn = Boolean(error);
      this.here.clear();
      return this.draw();
    }
    const { body, error } = await this.ask({ op: 'sub', room: ROOM });
    if (error) return this.note(error.detail, true);
    this.isIn = true;
    this.note(`in ${ROOM}; tabs there: ${body.members}`);
    return this.look();
  }

  /// Who is in the room now.
  async look() {
    const { body } = await this.ask({ uri: '/_tidegate/presence/' + ROOM });
    if (!body?.users) return;
    this.batch = body.n;
    this.here = new Map(body.users.map(({ user, conns }) => [user, conns]));
    this.draw();
  }

  changed({ n, join, leave }) {
    if (n <= this.batch) return;
    for (const { user } of join) this.note(`${user} has joined`);
    for (const { user } of leave) this.note(`${user} has left`);
    // A user counts once; with how many tabs, the room itself knows best.
    this.look();
  }

  async say(text) {
    const { error } = await this.ask({ op: 'pub', room: ROOM, event: 'said', data: { text } });
    if (error) this.note(error.detail, true);
  }

  cut() {
    this.socket.close(CUT, 'cut');
    this.isCut = true;
  }

  away() {
    this.socket.close(1000);
    this.card.remove();
    this.told.gone(this);
  }

  closed(code, reason) {
    this.asked.clear();
    this.isGreeted = false;
    if (this.isCut) {
      this.show('cut off', 'cut');
      this.note('cut off; pushes wait for it');
    } else {
      this.resume = null;
      this.seq = 0;
      this.isIn = false;
      this.show(`closed ${code}`, 'closed');
      this.note(`closed: ${code} ${reason}`, true);
    }
    this.here.clear();
    this.isCut = false;
    this.draw();
    this.told.changed();
  }

  show(text, kind) {
    const state = this.part('.state');
    state.textContent = text;
    state.className = 'state ' + kind;
  }

  draw() {
    const isOpen = this.isOpen() && !this.returning;
    this.part('.network').textContent = isOpen ? 'Cut the network' : this.resume ? 'Come back' : 'Open again';
    this.part('.join').textContent = this.isIn ? 'Leave the room' : 'Join the room';
    for (const button of ['.join', '.say button']) this.part(button).disabled = !isOpen;
    this.part('.room').replaceChildren(...this.people());
  }

  people() {
    if (!this.isIn) return ['Not in the room.'];
    if (!this.here.size) return ['In the room.'];
    return ['Here: ', ...[...this.here].map(([user, tabs]) => {
      const person = document.createElement('span');
      person.textContent = tabs > 1 ? `${user} × ${tabs}` : user;
      return person;
    })];
  }

  note(text, isBad) {
    this.line(text, isBad ? 'bad' : 'note');
  }

  line(text, kind, seq) {
    const line = document.createElement('li');
    line.className = kind;
    if (seq) {
      const number = document.createElement('small');
      number.textContent = '#' + seq;
      line.append(number);
    }
    line.append(text);
    const feed = this.part('.feed');
    feed.append(line);
    feed.scrollTop = feed.scrollHeight;
  }
}
