// A module of tasks in AssemblyScript. The other languages' examples have the same tasks.

import { fail, Input, Level, log, Output, progress, Store } from "./dpfw";

@task("effect_free")
export function add(a: i64, b: i64): i64 {
  return a + b;
}

@task("effect_free")
export function greet(name: string): string {
  const greeting = `Hello, ${name}!`;
  log(Level.Info, greeting);
  return greeting;
}

/** Tells how far it is. */
@task("effect_free")
export function total(numbers: Array<i64>): i64 {
  let sum: i64 = 0;
  for (let i = 0; i < numbers.length; i++) {
    sum += numbers[i];
    progress(i + 1, numbers.length);
  }
  return sum;
}

/** An error value: the caller gets the text. */
@task("fallible", "effect_free")
export function divide(a: i64, b: i64): i64 {
  if (b == 0) {
    fail("division by zero");
    return 0;
  }
  // The one quotient that an i64 does not hold.
  if (b == -1) return 0 - a;
  return a / b;
}

/**
 * Adds one to a number in the keyed store and says what it is then. Others may do the same at
 * the same time: it is written only if it is still what was read.
 */
@task("fallible", "once")
export function count(key: string): i64 {
  while (true) {
    const found = Store.get(key);
    if (found.refused) {
      fail(found.refused!);
      return 0;
    }
    let count: i64 = 0;
    if (found.hit) {
      const input = Input.of(found.value);
      count = input.read<i64>(key);
      if (input.why) {
        fail("the entry is no number");
        return 0;
      }
    }
    const output = new Output();
    output.write<i64>(count + 1);
    const written = Store.compareAndSwap(key, output.bytes, found.version);
    if (written.refused) {
      fail(written.refused!);
      return 0;
    }
    if (written.hit) return count + 1;
  }
}
