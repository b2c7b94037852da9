// Tasks for dpfw in AssemblyScript, to version 1 of the guest ABI (docs/abi.md).
//
// Owns: memory that the slave writes to and reads from, MessagePack, the reply's tags, the
// imports. Does not: name the exports; `transform.mjs` does, for every function with `@task`.
// Invariant: every length that stands in MessagePack is held against the bytes that are there
// before it is believed.

// ---- What a task may call ---------------------------------------------------------------

/** The levels of log lines. */
export enum Level { Error = 1, Warn, Info, Debug, Trace }

/** A log line of the task. */
export function log(level: Level, line: string): void {
  const target = String.UTF8.encode("guest"), text = String.UTF8.encode(line);
  hostLog(level, at(target), target.byteLength, at(text), text.byteLength);
}

/** How far the task is; a `total` of 0 is not known. */
export function progress(done: u64, total: u64): void {
  hostProgress(done, total);
}

let failure: string | null = null;

/** The task's error; what the task then returns is not looked at. For `@task("fallible")`. */
export function fail(why: string): void {
  failure = why;
}

/** Takes the place of `abort`: asserts, `throw` and the like end the task with their text. */
export function onAbort(why: string | null, file: string | null, line: u32, column: u32): void {
  const text = String.UTF8.encode(why ? why : "aborted");
  const where = String.UTF8.encode(file ? file : "");
  hostPanic(at(text), text.byteLength, at(where), where.byteLength, line, column);
  unreachable();
}

// ---- The keyed store --------------------------------------------------------------------

/** What the store answers. */
export class Answer {
  constructor(
    /** Whether the entry was there, or was written. */
    public hit: bool,
    /** The entry's version; 0 stands for none. */
    public version: u64,
    /** The entry's value, of a `get`. */
    public value: Uint8Array,
    /** Why the store refused, if it did. */
    public refused: string | null,
  ) {}
}

/** The entries of the task's master on this slave. */
export namespace Store {
  export function get(key: string): Answer {
    const k = String.UTF8.encode(key);
    return answer(hostGet(at(k), k.byteLength), true);
  }

  export function put(key: string, value: Uint8Array): Answer {
    const k = String.UTF8.encode(key);
    return answer(hostPut(at(k), k.byteLength, value.dataStart, value.byteLength), false);
  }

  export function putIfAbsent(key: string, value: Uint8Array): Answer {
    const k = String.UTF8.encode(key);
    return answer(hostPutIfAbsent(at(k), k.byteLength, value.dataStart, value.byteLength), false);
  }

  /** Writes if the entry still has this version; 0 stands for no entry. */
  export function compareAndSwap(key: string, value: Uint8Array, expected: u64): Answer {
    const k = String.UTF8.encode(key);
    const outcome = hostSwap(at(k), k.byteLength, value.dataStart, value.byteLength, expected);
    return answer(outcome, false);
  }

  export function remove(key: string): Answer {
    const k = String.UTF8.encode(key);
    return answer(hostRemove(at(k), k.byteLength), false);
  }
}

const HIT: u32 = 1;
const FAILED: u32 = 2;

function answer(outcome: u32, reads: bool): Answer {
  const version = hostReplyVersion();
  let value = new Uint8Array(0);
  if (outcome == FAILED || (reads && outcome == HIT)) {
    value = new Uint8Array(hostReplyLen());
    hostReplyTake(value.dataStart);
  }
  const refused = outcome == FAILED ? String.UTF8.decode(value.buffer) : null;
  return new Answer(outcome == HIT, version, value, refused);
}

// ---- MessagePack ------------------------------------------------------------------------

/**
 * Bytes that are being read. After the first thing that does not fit, `why` says what, and
 * everything that is read is zero or empty.
 */
export class Input {
  why: string | null = null;
  /** Of the last integer: whether it was below zero. */
  private negative: bool = false;

  constructor(private at: usize, private end: usize) {}

  /** Reads a value in the store. */
  static of(value: Uint8Array): Input {
    return new Input(value.dataStart, value.dataStart + value.byteLength);
  }

  /** Whether all was read. */
  get isAtEnd(): bool {
    return this.at == this.end;
  }

  /** A value of the type; `name` says in errors what it is. */
  read<T>(name: string): T {
    if (isBoolean<T>()) {
      const marker = this.big(1, name);
      if (marker != 0xc2 && marker != 0xc3) this.misfit(name, kind(marker));
      return <T>(marker == 0xc3);
    } else if (isInteger<T>()) {
      const bits = this.integer(name), value = <T>bits;
      const fits = isSigned<T>()
        ? <i64>value == <i64>bits && <i64>bits < 0 == this.negative
        : <u64>value == bits && !this.negative;
      if (!fits) this.misfit(name, "an integer does not fit");
      return value;
    } else if (isFloat<T>()) {
      return <T>this.float(name);
    } else if (isString<T>()) {
      const len = this.run(name, 0xd9);
      return changetype<T>(String.UTF8.decodeUnsafe(this.at - len, len));
    } else if (idof<T>() == idof<Uint8Array>()) {
      const len = this.run(name, 0xc4), bytes = new Uint8Array(<i32>len);
      memory.copy(bytes.dataStart, this.at - len, len);
      return changetype<T>(bytes);
    } else if (isArray<T>()) {
      const len = this.array(name), all = instantiate<T>(<i32>len);
      for (let i = 0; i < <i32>len; i++) all[i] = this.read<valueof<T>>(name);
      return all;
    } else {
      ERROR("tasks take integers, floats, bool, string, Uint8Array and arrays of these");
    }
  }

  /** The length of an array. Its elements have a byte each at least. */
  array(name: string): usize {
    const marker = this.big(1, name);
    let len: u64 = 0;
    if (marker >= 0x90 && marker <= 0x9f) len = marker & 0x0f;
    else if (marker == 0xdc || marker == 0xdd) len = this.big(marker == 0xdc ? 2 : 4, name);
    else this.misfit(name, kind(marker));
    return this.has(len, name);
  }

  misfit(name: string, what: string): void {
    if (!this.why) this.why = "argument `" + name + "`: " + what;
    this.at = this.end;
  }

  private has(len: u64, name: string): usize {
    if (len <= this.end - this.at) return <usize>len;
    this.misfit(name, "it is cut off");
    return 0;
  }

  /** A number of so many bytes, the highest first. */
  private big(size: usize, name: string): u64 {
    if (this.has(size, name) != size) return 0;
    let value: u64 = 0;
    for (let i: usize = 0; i < size; i++) value = (value << 8) | load<u8>(this.at++);
    return value;
  }

  private integer(name: string): u64 {
    const marker = <u32>this.big(1, name);
    let value: u64 = 0;
    this.negative = false;
    if (marker <= 0x7f || marker >= 0xe0) value = <i8>marker;
    else if (marker >= 0xcc && marker <= 0xcf) return this.big(1 << (marker - 0xcc), name);
    else if (marker >= 0xd0 && marker <= 0xd3) {
      const size = 1 << (marker - 0xd0), rest = 64 - 8 * size;
      value = (<i64>this.big(size, name) << rest) >> rest;
    } else this.misfit(name, kind(marker));
    this.negative = <i64>value < 0;
    return value;
  }

  private float(name: string): f64 {
    const marker = this.big(1, name);
    if (marker == 0xca) return reinterpret<f32>(<u32>this.big(4, name));
    if (marker == 0xcb) return reinterpret<f64>(this.big(8, name));
    if (this.why) return 0;
    this.at--;
    const bits = this.integer(name);
    return this.negative ? <f64>(<i64>bits) : <f64>bits;
  }

  /** Goes past the bytes of a string, or byte string, whose shortest head is `least`. */
  private run(name: string, least: u64): usize {
    const marker = this.big(1, name);
    let len: u64 = 0;
    if (least == 0xd9 && marker >= 0xa0 && marker <= 0xbf) len = marker & 0x1f;
    else if (marker >= least && marker <= least + 2) len = this.big(1 << <usize>(marker - least), name);
    else this.misfit(name, kind(marker));
    const there = this.has(len, name);
    this.at += there;
    return there;
  }
}

/** What a marker stands for, in words. */
function kind(m: u64): string {
  if (m <= 0x7f || m >= 0xe0 || (m >= 0xcc && m <= 0xd3)) return "an integer does not fit";
  if (m <= 0x8f || m == 0xde || m == 0xdf) return "a map does not fit";
  if (m <= 0x9f || m == 0xdc || m == 0xdd) return "an array does not fit";
  if (m <= 0xbf || (m >= 0xd9 && m <= 0xdb)) return "a string does not fit";
  if (m == 0xc0) return "null does not fit";
  if (m == 0xc2 || m == 0xc3) return "a boolean does not fit";
  if (m >= 0xc4 && m <= 0xc6) return "a byte string does not fit";
  if (m == 0xca || m == 0xcb) return "a float does not fit";
  return "an extension does not fit";
}

/** Bytes that are being written; they grow. */
export class Output {
  private room: ArrayBuffer = new ArrayBuffer(64);
  private len: usize = 0;

  /** What was written. */
  get bytes(): Uint8Array {
    return Uint8Array.wrap(this.room, 0, <i32>this.len);
  }

  /** A value in the form that `Input.read` and other languages read. */
  write<T>(value: T): void {
    if (isBoolean<T>()) {
      this.head(value ? 0xc3 : 0xc2, 0, 0);
    } else if (isInteger<T>()) {
      if (isSigned<T>() && value < 0) this.below(<i64>value);
      else this.above(<u64>value);
    } else if (isFloat<T>()) {
      this.head(0xcb, reinterpret<u64>(<f64>value), 8);
    } else if (isString<T>()) {
      const text = String.UTF8.encode(changetype<string>(value)), len = text.byteLength;
      if (len < 32) this.head(<u8>(0xa0 | len), 0, 0);
      else this.sized(0xd9, len);
      memory.copy(this.more(len), at(text), len);
    } else if (idof<T>() == idof<Uint8Array>()) {
      const bytes = changetype<Uint8Array>(value), len = bytes.byteLength;
      this.sized(0xc4, len);
      memory.copy(this.more(len), bytes.dataStart, len);
    } else if (isArray<T>()) {
      const len = value.length;
      if (len < 16) this.head(<u8>(0x90 | len), 0, 0);
      else if (len <= <i32>u16.MAX_VALUE) this.head(0xdc, len, 2);
      else this.head(0xdd, len, 4);
      for (let i = 0; i < len; i++) this.write<valueof<T>>(value[i]);
    } else {
      ERROR("tasks return integers, floats, bool, string, Uint8Array and arrays of these");
    }
  }

  /** No value. */
  nil(): void {
    this.head(0xc0, 0, 0);
  }

  /** One byte, as it is. */
  byte(value: u8): void {
    this.head(value, 0, 0);
  }

  /** Bytes, as they are. */
  raw(bytes: ArrayBuffer): void {
    memory.copy(this.more(bytes.byteLength), at(bytes), bytes.byteLength);
  }

  private below(value: i64): void {
    if (value >= -32) this.head(<u8>value, 0, 0);
    else if (value >= i8.MIN_VALUE) this.head(0xd0, value, 1);
    else if (value >= i16.MIN_VALUE) this.head(0xd1, value, 2);
    else if (value >= i32.MIN_VALUE) this.head(0xd2, value, 4);
    else this.head(0xd3, value, 8);
  }

  private above(value: u64): void {
    if (value <= 127) this.head(<u8>value, 0, 0);
    else if (value <= u8.MAX_VALUE) this.head(0xcc, value, 1);
    else if (value <= u16.MAX_VALUE) this.head(0xcd, value, 2);
    else if (value <= u32.MAX_VALUE) this.head(0xce, value, 4);
    else this.head(0xcf, value, 8);
  }

  /** A head with a length of 1, 2 or 4 bytes. */
  private sized(least: u8, len: u64): void {
    if (len <= u8.MAX_VALUE) this.head(least, len, 1);
    else if (len <= u16.MAX_VALUE) this.head(least + 1, len, 2);
    else this.head(least + 2, len, 4);
  }

  private head(marker: u8, value: u64, size: usize): void {
    const to = this.more(1 + size);
    store<u8>(to, marker);
    for (let i: usize = 0; i < size; i++) store<u8>(to + 1 + i, <u8>(value >> (8 * (size - 1 - i))));
  }

  /** Room for so many bytes more. */
  private more(len: usize): usize {
    const need = this.len + len, have = <usize>this.room.byteLength;
    if (need > have) {
      const room = new ArrayBuffer(<i32>max(need, 2 * have));
      memory.copy(at(room), at(this.room), this.len);
      this.room = room;
    }
    this.len = need;
    return at(this.room) + need - len;
  }
}

// ---- A call -----------------------------------------------------------------------------

/** Room that the slave asked for; not the collector's, which cannot see that it is used. */
let room: usize = 0;

/** The last reply, for as long as the slave may read it. */
let kept: Output | null = null;

/** What the slave calls once before each call, to write the arguments there. */
export function dpfw_alloc(len: u32): u32 {
  if (room) heap.free(room);
  kept = null;
  room = heap.alloc(len);
  return <u32>room;
}

const RESULT: u8 = 0;
const ERROR_VALUE: u8 = 1;
const BAD_ARGUMENTS: u8 = 2;

/** The arguments of a call, which have to be so many. */
export function begin(at: u32, len: u32, count: u32): Input {
  failure = null;
  const input = new Input(at, at + len), given = <u32>input.array("");
  if (input.why) {
    input.why = "they are no MessagePack array";
  } else if (given != count) {
    const plural = count == 1 ? "" : "s";
    input.misfit("", "");
    input.why = `the task takes ${count} argument${plural}, ${given} were given`;
  }
  return input;
}

/** Whether the task may run: all arguments were read, and fitted. */
export function isComplete(input: Input): bool {
  if (!input.why && !input.isAtEnd) input.why = "bytes are left over behind them";
  return !input.why;
}

/** The reply of a task that did not run. */
export function refuse(input: Input): u64 {
  return told(BAD_ARGUMENTS, input.why!);
}

/** The reply of a task that returned. */
export function reply<T>(value: T): u64 {
  if (failure) return told(ERROR_VALUE, failure!);
  const output = new Output();
  output.byte(RESULT);
  output.write<T>(value);
  return give(output);
}

/** The reply of a task that returned nothing. */
export function replyNothing(): u64 {
  if (failure) return told(ERROR_VALUE, failure!);
  const output = new Output();
  output.byte(RESULT);
  output.nil();
  return give(output);
}

function told(tag: u8, text: string): u64 {
  const output = new Output();
  output.byte(tag);
  output.raw(String.UTF8.encode(text));
  return give(output);
}

function give(output: Output): u64 {
  kept = output;
  const bytes = output.bytes;
  return (<u64>bytes.dataStart << 32) | bytes.byteLength;
}

// ---- What the slave offers --------------------------------------------------------------

@inline function at(buffer: ArrayBuffer): usize {
  return changetype<usize>(buffer);
}

@external("dpfw_1", "log")
declare function hostLog(level: u32, target: usize, targetLen: u32, line: usize, lineLen: u32): void;
@external("dpfw_1", "progress")
declare function hostProgress(done: u64, total: u64): void;
@external("dpfw_1", "panic")
declare function hostPanic(
  text: usize, textLen: u32, file: usize, fileLen: u32, line: u32, column: u32,
): void;
@external("dpfw_1", "store_get")
declare function hostGet(key: usize, keyLen: u32): u32;
@external("dpfw_1", "store_put")
declare function hostPut(key: usize, keyLen: u32, value: usize, valueLen: u32): u32;
@external("dpfw_1", "store_put_if_absent")
declare function hostPutIfAbsent(key: usize, keyLen: u32, value: usize, valueLen: u32): u32;
@external("dpfw_1", "store_compare_and_swap")
declare function hostSwap(
  key: usize, keyLen: u32, value: usize, valueLen: u32, expected: u64,
): u32;
@external("dpfw_1", "store_remove")
declare function hostRemove(key: usize, keyLen: u32): u32;
@external("dpfw_1", "reply_len")
declare function hostReplyLen(): u32;
@external("dpfw_1", "reply_take")
declare function hostReplyTake(to: usize): void;
@external("dpfw_1", "reply_version")
declare function hostReplyVersion(): u64;
