//! The SDK's residents in a bare instance, called as `docs/abi.md` says.
//!
//! Owns: what the guest does by itself, whatever the slave is like that calls it.

use dpfw_protocol::payload;
use dpfw_protocol::resident::{Class, RESIDENT_PREFIX};
use residents_tasks::{Bank, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::{Caller, Engine, Instance, Linker, Memory, Module, Store, TypedFunc};

/// An instance, and the texts of its panics.
struct Bare {
    store: Store<Vec<String>>,
    instance: Instance,
    memory: Memory,
    alloc: TypedFunc<i32, i32>,
}

impl Bare {
    fn new() -> wasmtime::Result<Self> {
        let engine = Engine::default();
        let module = <Bank as Class>::module();
        let module = Module::new(&engine, module.bytes().expect("embedded"))?;
        let mut linker = Linker::<Vec<String>>::new(&engine);
        let panic =
            |mut caller: Caller<'_, Vec<String>>, at, len, _: i32, _: i32, _: i32, _: i32| {
                let text = memory_of(&mut caller, at, len);
                caller.data_mut().push(text);
            };
        linker.func_wrap("dpfw_1", "panic", panic)?;
        linker.define_unknown_imports_as_traps(&module)?;
        let mut store = Store::new(&engine, Vec::new());
        let instance = linker.instantiate(&mut store, &module)?;
        let memory = instance.get_memory(&mut store, "memory").expect("a memory");
        for name in ["_initialize", "dpfw_warm"] {
            instance.get_typed_func::<(), ()>(&mut store, name)?.call(&mut store, ())?;
        }
        let alloc = instance.get_typed_func(&mut store, "dpfw_alloc")?;
        Ok(Self { store, instance, memory, alloc })
    }

    /// The bytes of a reply.
    fn reply(&mut self, name: &str, args: &impl Serialize) -> wasmtime::Result<Vec<u8>> {
        let args = payload::encode(args).expect("encodes").into_bytes();
        let len = i32::try_from(args.len()).expect("short");
        let at = self.alloc.call(&mut self.store, len)?;
        self.memory.write(&mut self.store, at as usize, &args)?;
        let export = format!("{RESIDENT_PREFIX}{name}");
        let function = self.instance.get_typed_func::<(i32, i32), i64>(&mut self.store, &export)?;
        let reply = function.call(&mut self.store, (at, len))?.cast_unsigned();
        let (at, len) = ((reply >> 32) as usize, reply as u32 as usize);
        Ok(self.memory.data(&self.store)[at..at + len].to_vec())
    }

    /// A result.
    fn call<T: DeserializeOwned>(&mut self, name: &str, args: &impl Serialize) -> T {
        let reply = self.reply(name, args).expect("no trap");
        assert_eq!(reply[0], 0, "{}", String::from_utf8_lossy(&reply[1..]));
        payload::decode(reply[1..].to_vec().into()).expect("decodes")
    }

    /// The text of the panic that a call ends with.
    fn panic(&mut self, name: &str, args: &impl Serialize) -> String {
        self.reply(name, args).expect_err("it traps");
        self.store.data_mut().pop().expect("it said why")
    }
}

/// A text in a guest's memory.
fn memory_of(caller: &mut Caller<'_, Vec<String>>, at: i32, len: i32) -> String {
    let memory = caller.get_export("memory").and_then(wasmtime::Extern::into_memory);
    let bytes = &memory.expect("a memory").data(&caller)[at as usize..][..len as usize];
    String::from_utf8_lossy(bytes).into_owned()
}

/// No arguments.
const NONE: [(); 0] = [];

#[test]
fn d12_a_generator_keeps_its_count_from_call_to_call() -> wasmtime::Result<()> {
    let mut bare = Bare::new()?;
    let () = bare.call("generator.new", &NONE);
    assert_eq!(bare.call::<u64>("generator.invoke", &NONE), 1);
    assert_eq!(bare.call::<u64>("generator.invoke", &NONE), 2);
    Ok(())
}

#[test]
fn what_was_saved_in_one_instance_is_loaded_in_another() -> wasmtime::Result<()> {
    let mut bare = Bare::new()?;
    let () = bare.call("generator.new", &NONE);
    let _: u64 = bare.call("generator.invoke", &NONE);
    let saved: u64 = bare.call("generator.save", &NONE);
    let mut other = Bare::new()?;
    let () = other.call("generator.load", &(saved,));
    assert_eq!(other.call::<u64>("generator.invoke", &NONE), 2);
    assert_eq!(bare.call::<u64>("generator.invoke", &NONE), 2, "the first goes on as it was");
    Ok(())
}

#[test]
fn arguments_that_do_not_fit_are_refused_and_the_resident_goes_on() -> wasmtime::Result<()> {
    let mut bare = Bare::new()?;
    let () = bare.call("generator.new", &NONE);
    let refused = bare.reply("generator.invoke", &(1,))?;
    assert_eq!(refused, b"\x02the task takes 0 arguments, 1 were given");
    assert_eq!(bare.call::<u64>("generator.invoke", &NONE), 1);
    Ok(())
}

#[test]
fn calls_out_of_order_trap_and_say_why() -> wasmtime::Result<()> {
    let before = "a method of `bank` was called before a constructor";
    assert_eq!(Bare::new()?.panic("bank.save", &NONE), before);
    for (name, why) in [
        ("generator.new", "a constructor of `generator` was called, and the instance has a `bank`"),
        ("bank.new", "a constructor of `bank` was called, and the instance has a `bank` already"),
        ("generator.invoke", "a method of `generator` was called, and the instance has a `bank`"),
    ] {
        let mut bare = Bare::new()?;
        let () = bare.call("bank.new", &NONE);
        let text = bare.panic(name, &NONE);
        assert!(text.starts_with(why), "{text}");
    }
    Ok(())
}

/// What leaks meets its limit in the end.
#[test]
fn calls_without_end_take_no_memory() -> wasmtime::Result<()> {
    let mut bare = Bare::new()?;
    let () = bare.call("tuple_server.new", &NONE);
    let long = Value::Text("x".repeat(4096));
    let mut size = 0;
    for n in 0..2000 {
        let _: Option<Value> = bare.call("tuple_server.get", &(&long,));
        if n == 100 {
            size = bare.memory.data_size(&bare.store);
        }
    }
    assert_eq!(bare.memory.data_size(&bare.store), size);
    Ok(())
}
