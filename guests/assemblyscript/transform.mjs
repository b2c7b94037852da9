// Makes tasks of the exported functions with `@task`, while asc compiles.
//
// Owns: the exports' names, which AssemblyScript itself has no way to write (`dpfw:add`), the
// code between bytes and arguments, the custom section `dpfw.tasks`. Does not: know
// MessagePack; `assembly/dpfw.ts` does.

const FLAGS = ["fallible", "once", "effect_free"];
const SDK = "assembly/dpfw";
const WRAPPERS = "assembly/dpfw-tasks.ts";
const PREFIX = "__dpfw_task_";

export default class Tasks {
  tasks = [];

  afterParse(parser) {
    for (const source of parser.sources.filter((source) => !source.isLibrary)) {
      for (const statement of source.statements) {
        const decorator = statement.decorators?.find((one) => one.name.text === "task");
        if (decorator) this.tasks.push(read(source, statement, decorator));
      }
    }
    parser.parseFile(wrappers(this.tasks), WRAPPERS, true);
  }

  afterCompile(module) {
    const lines = this.tasks.map((task) => {
      const exported = PREFIX + task.name;
      const { value } = this.binaryen.getExportInfo(module.getExport(exported));
      module.removeExport(exported);
      // Of an entry file every function is exported, under its own name as well.
      if (module.getExport(task.name)) module.removeExport(task.name);
      module.addFunctionExport(value, `dpfw:${task.name}`);
      return JSON.stringify({ task: record(task) }) + "\n";
    });
    module.addCustomSection("dpfw.tasks", new TextEncoder().encode(lines.join("")));
  }
}

function read(source, statement, decorator) {
  const name = statement.name.text;
  const flags = (decorator.args ?? []).map((flag) => flag.value);
  const unknown = flags.find((flag) => !FLAGS.includes(flag));
  if (unknown !== undefined || !statement.signature) {
    const why = unknown === undefined ? "only functions are tasks" : `no flag "${unknown}"`;
    throw new Error(`@task of \`${name}\` in ${source.normalizedPath}: ${why}`);
  }
  const { parameters, returnType } = statement.signature;
  return {
    name,
    flags,
    path: source.internalPath,
    args: parameters.map((one) => ({ name: one.name.text, type: one.type.range.toString() })),
    // A function without a type returns nothing.
    returns: returnType.range.toString().trim() || "void",
  };
}

/** The source of the exports: one for each task. */
function wrappers(tasks) {
  const relative = (path) => "./" + path.replace(/^assembly\//, "");
  const imports = tasks.map(
    ({ name, path }) => `import { ${name} as ${name}_ } from "${relative(path)}";\n`,
  );
  return `import * as dpfw from "./${SDK.replace(/^assembly\//, "")}";
export { dpfw_alloc } from "./${SDK.replace(/^assembly\//, "")}";
${imports.join("")}${tasks.map(wrapper).join("")}`;
}

function wrapper({ name, args, returns }) {
  const reads = args.map(({ name, type }, index) => {
    const told = JSON.stringify(`${name}: ${rust(type)}`);
    return `  const a${index} = input.read<${type}>(${told});\n`;
  });
  const call = `${name}_(${args.map((_, index) => `a${index}`).join(", ")})`;
  const reply = returns === "void"
    ? `  ${call};\n  return dpfw.replyNothing();\n`
    : `  return dpfw.reply<${returns}>(${call});\n`;
  return `export function ${PREFIX}${name}(at: u32, len: u32): u64 {
  const input = dpfw.begin(at, len, ${args.length});
${reads.join("")}  if (!dpfw.isComplete(input)) return dpfw.refuse(input);
${reply}}
`;
}

/** A task as the custom section has it. */
function record({ name, flags, args, returns }) {
  return {
    name,
    args: args.map(({ name, type }) => ({ name, type: rust(type) })),
    returns: rust(returns),
    ...Object.fromEntries(flags.map((flag) => [flag, true])),
  };
}

/** A type in the words that all modules use, whatever they are written in. */
function rust(type) {
  const element = /^(?:Array|StaticArray)<(.*)>$/.exec(type) ?? /^(.*)\[\]$/.exec(type);
  if (element) return `Vec<${rust(element[1].trim())}>`;
  return { string: "String", Uint8Array: "Bytes", void: "()" }[type] ?? type;
}
