//! The macros of dpfw's guest SDK.
//!
//! Owns: what is accepted on a task, the code put beside it, the records in the custom
//! section. Does not: know the ABI's layout or the wire; the generated code calls
//! `dpfw_guest`, which does. Invariant: every mistake in a macro's input is reported, at
//! the place concerned, and the input itself is always given back unchanged, so that no
//! error is followed by another that is only its echo.
//!
//! Use these through `dpfw_guest`, which exports them.

mod check;
mod function;
mod mistakes;
mod options;
mod record;
mod resident;
mod returns;
mod role;
mod shape;
mod task;
mod text;
mod visibility;

use proc_macro::TokenStream;

/// Makes a function a task.
///
/// The function stays as it is, so that it can be called and tested. On the host a module
/// of the same name appears beside it, with the function's visibility:
///
/// - `add::call(a, b)` takes the function's arguments and gives a `Call` of its result;
/// - `add::task()` is the task itself, with its module.
///
/// ```standalone_crate
/// use dpfw_guest::task;
/// # dpfw_guest::module!(b"\0asm\x01\0\0\0");
///
/// /// Adds two numbers.
/// #[task]
/// pub fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// /// Divides, which can fail: any error with `Display` will do.
/// #[task(effect_free)]
/// pub fn divide(a: i64, b: i64) -> Result<i64, String> {
///     a.checked_div(b).ok_or_else(|| format!("{a} cannot be divided by {b}"))
/// }
///
/// fn main() {
///     assert_eq!(add(2, 3), 5);
///     assert_eq!(add::call(2, 3).to_string(), "add(2, 3)");
///     assert_eq!(divide::task().name(), "divide");
/// }
/// ```
///
/// # Options
/// - `once`: when its slave is lost after it may have run, the task is not tried again.
///   For tasks that change something outside.
/// - `effect_free`: the task may be tried twice at once, since it has no effect but its result (and
///   what it logs). When it takes much longer than it should and another slave has nothing to do,
///   it is tried there as well; the first result counts, and the other attempt is cancelled.
/// - `image = build`: the task runs on an image of the `#[init]` of that name, and is refused
///   without one before anything runs.
/// - `name = "..."`: its name in the module. Names are unique in a module, wherever the
///   functions stand.
///
/// # What can be a task
/// A free function whose arguments are plain names of owned types that are `Serialize`
/// and `DeserializeOwned`, and so is its result. A function that returns `Result` (by
/// that name) returns an error with `Display`, whose text reaches the caller.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(role::Role::Task, options.into(), item.into()).into()
}

/// Makes a function an init: what has to be done once on a slave, and not once for each task.
///
/// It runs in a sandbox of its own, and whatever it leaves in memory, in a `static` for
/// instance, is there for every task that is dispatched against the image made by it; what
/// such a task changes is its own. It logs, reads clocks and draws randomness as tasks do, but
/// sees nothing of the keyed store: an image follows from its module and the init's arguments.
///
/// The function stays as it is. On the host a module of the same name appears beside it, in
/// which `call(...)` takes the function's arguments and gives an `Init`, for `Master::init`.
///
/// ```standalone_crate
/// use dpfw_guest::{init, task};
/// use std::sync::OnceLock;
/// # dpfw_guest::module!(b"\0asm\x01\0\0\0");
///
/// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
///
/// /// Any arguments that a task can have; nothing, or an error, is returned.
/// #[init]
/// pub fn words(text: String) -> Result<(), String> {
///     let words = text.split_whitespace().map(str::to_owned).collect();
///     WORDS.set(words).map_err(|_| "there are words already".to_owned())
/// }
///
/// #[task(image = words)]
/// pub fn has(word: String) -> bool {
///     WORDS.get().is_some_and(|words| words.contains(&word))
/// }
///
/// fn main() {
///     assert_eq!(words::call("to be".into()).to_string(), r#"words("to be")"#);
///     words("to be".into()).expect("the first time");
///     assert!(has("be".into())); // a plain function, as any task
/// }
/// ```
#[proc_macro_attribute]
pub fn init(options: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(role::Role::Init, options.into(), item.into()).into()
}

/// Makes a type a class of residents: instances that stay alive on one slave, under a key, and
/// keep their state from call to call.
///
/// It goes on the type's own impl, which stays as it is, so that it can be used and tested. On
/// the host a module appears beside it, named after the type, with the typed calls:
///
/// - for each constructor, a public function that returns `Self` or `Result<Self, E>`,
///   `counter::new(start)` gives a `Spawn<Counter>`, which a master spawns the resident by;
/// - for each method, a public function that takes `&mut self` or `&self`, `counter::bump()`
///   gives a `MethodCall<Counter, u64>`, which the resident is given.
///
/// ```standalone_crate
/// use dpfw_guest::resident;
/// # dpfw_guest::module!(b"\0asm\x01\0\0\0");
///
/// /// Counts.
/// pub struct Counter {
///     n: u64,
/// }
///
/// #[resident]
/// impl Counter {
///     pub fn new(start: u64) -> Self {
///         Self { n: start }
///     }
///
///     /// Adds one.
///     pub fn bump(&mut self) -> u64 {
///         self.n += 1;
///         self.n
///     }
///
///     /// Any error with `Display` will do, as of a task.
///     pub fn take(&mut self, count: u64) -> Result<u64, String> {
///         let less = self.n.checked_sub(count).ok_or("there are not so many")?;
///         self.n = less;
///         Ok(less)
///     }
/// }
///
/// fn main() {
///     let mut plain = Counter::new(0);
///     assert_eq!((plain.bump(), plain.bump()), (1, 2));
///     assert_eq!(counter::new(7).to_string(), "counter.new(7)");
///     assert_eq!(counter::bump().to_string(), "counter.bump()");
/// }
/// ```
///
/// # State that is carried over
/// A resident that offers both of these functions can be begun again with its state, after it
/// failed or after its slave was restarted, and can be moved to another slave. What `save` gives
/// is any serde type; `load` takes the same. Only slaves call them.
///
/// ```standalone_crate
/// # use dpfw_guest::resident;
/// # dpfw_guest::module!(b"\0asm\x01\0\0\0");
/// # pub struct Counter { n: u64 }
/// #[resident]
/// impl Counter {
/// #   pub fn new(start: u64) -> Self { Self { n: start } }
///     pub fn save(&self) -> u64 {
///         self.n
///     }
///
///     pub fn load(state: u64) -> Self {
///         Self { n: state }
///     }
/// }
/// # fn main() { assert_eq!(Counter::load(Counter::new(7).save()).n, 7); }
/// ```
///
/// # What happens to it
/// A resident has an instance of the module for itself, and is called once at a time, in the order
/// in which calls arrive. It can do what tasks can. After a panic or a trap, and when a call was cut
/// short, its memory is in doubt: it is begun again, or ends, as its policy says; the next call
/// never sees what that one left. **It is not dropped** when it ends: its sandbox is thrown away
/// with all that is in it, so nothing may rest with a `Drop` of its type.
///
/// # Options
/// - `name = "..."`: the name of the module with the calls, and of the class; without it the
///   type's, as `snake_case`.
///
/// # What can be a resident
/// A type with a name, without parameters. Constructors and methods take plain names of owned
/// types that are `Serialize` and `DeserializeOwned`, and so is what methods return. Functions
/// without `pub`, and public ones that take no `self` and return another type, are left alone. A
/// `#[cfg]` on a function holds for its call as well, and a call is as visible as its function.
#[proc_macro_attribute]
pub fn resident(options: TokenStream, item: TokenStream) -> TokenStream {
    resident::expand(options.into(), item.into()).into()
}

/// Tells the fields of a type, so that a caller and a module built from different
/// versions of it are told what differs before anything runs.
///
/// ```
/// use dpfw_guest::Shape;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Shape)]
/// struct Hit {
///     document: u32,
///     score: f64,
/// }
///
/// fn tells_its_fields<T: Shape>() {}
/// tells_its_fields::<Hit>();
/// ```
#[proc_macro_derive(Shape)]
pub fn shape(item: TokenStream) -> TokenStream {
    shape::expand(item.into()).into()
}
