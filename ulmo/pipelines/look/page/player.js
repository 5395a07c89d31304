// The player. The file in the page may play slower than the sound was (`slowed`): bats are kept so.

class Player {
  #context = null; // made at the first sound: a browser allows none before a key or a click
  #buffer = null;
  #source = null;
  #began = 0; // time of the context at which the source began
  #from = startS;
  #until = endS;
  #isLoop = false;
  #queue = []; // stretches that follow
  #made = null; // the source of sound that is not of the recording
  #waiting = null; // what was to be played before the sound was decoded

  speed = given.sound.slowed >= 5 ? 0.1 : 1;
  onChange = () => {};

  async load() {
    const bytes = bytesOf(given.sound.ogg);
    this.#buffer = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes.buffer);
    if (this.#waiting) this.#start(...this.#waiting);
  }

  get buffer() {
    return this.#buffer;
  }

  get isPlaying() {
    return this.#source !== null;
  }

  // Whether anything is heard, also made sound.
  get isHeard() {
    return this.isPlaying || this.#made !== null;
  }

  // The time in the recording that is heard now.
  get time() {
    if (!this.isPlaying) return this.#from;
    const passed = (this.#context.currentTime - this.#began) * this.speed;
    const length = this.#until - this.#from;
    return this.#from + (this.#isLoop ? passed % length : Math.min(passed, length));
  }

  // Play from one time to another, again and again if it is a loop.
  play(from, until = endS, isLoop = false) {
    this.#stop();
    this.#queue = [];
    this.#start(from, until, isLoop);
  }

  // Play stretches, each [from, until], one after the other.
  playAll(stretches) {
    this.#stop();
    const [first, ...rest] = stretches;
    this.#queue = rest;
    if (first) this.#start(...first, false);
  }

  // Play made sound, which is at no time of the recording.
  playMade(samples, rate) {
    this.pause();
    this.#context ??= new AudioContext();
    this.#context.resume();
    const buffer = this.#context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples, 0);
    this.#made = this.#context.createBufferSource();
    this.#made.buffer = buffer;
    this.#made.connect(this.#context.destination);
    this.#made.onended = ({ target }) => { if (this.#made === target) this.#made = null; };
    this.#made.start();
  }

  pause() {
    const time = this.time;
    this.#stop();
    this.#queue = [];
    this.#from = time;
    this.onChange();
  }

  // Go to a time without a sound, or go on from there.
  seek(time) {
    const inside = Math.min(Math.max(time, startS), endS);
    if (this.isPlaying) this.play(inside);
    else this.#from = inside;
    this.onChange();
  }

  setSpeed(speed) {
    const { isPlaying, time } = this;
    const [until, isLoop, begin] = [this.#until, this.#isLoop, this.#from];
    this.pause();
    this.speed = speed;
    if (isPlaying) this.play(isLoop ? begin : time, until, isLoop);
  }

  #start(from, until, isLoop) {
    this.#context ??= new AudioContext();
    this.#context.resume();
    this.#waiting = this.#buffer ? null : [from, until, isLoop];
    if (this.#waiting) return;
    const { slowed } = given.sound;
    const [begin, end] = [(from - startS) * slowed, (until - startS) * slowed];
    const source = this.#context.createBufferSource();
    source.buffer = this.#buffer;
    source.playbackRate.value = this.speed * slowed;
    source.connect(this.#context.destination);
    [this.#from, this.#until, this.#isLoop] = [from, until, isLoop];
    this.#began = this.#context.currentTime;
    if (isLoop) {
      Object.assign(source, { loop: true, loopStart: begin, loopEnd: end });
      source.start(0, begin);
    } else {
      source.start(0, begin, Math.max(end - begin, 0));
    }
    source.onended = () => this.#ended();
    this.#source = source;
    this.onChange();
  }

  #ended() {
    this.#source = null;
    this.#from = this.#until >= endS ? startS : this.#until;
    const next = this.#queue.shift();
    if (next) this.#start(...next, false);
    else this.onChange();
  }

  #stop() {
    this.#made?.stop();
    this.#made = null;
    if (!this.#source) return;
    this.#source.onended = null;
    this.#source.stop();
    this.#source = null;
  }
}

const player = new Player();
