//! The crate's own module, embedded where the crate is compiled for the host.
//!
//! Owns: `module!`. Does not: compile; `dpfw-guest-build` does, in the build script.
//! Invariant: a host's program with tasks cannot be built without their module.

/// Embeds the crate's tasks, compiled to WebAssembly, so that calls know what to run.
///
/// Stands once, at the crate's root. The crate's build script calls
/// `dpfw_guest_build::build()`. On wasm it expands to nothing.
///
/// A module that comes from elsewhere can be given as bytes:
///
/// ```standalone_crate
/// use dpfw_guest::task;
///
/// dpfw_guest::module!(b"\0asm\x01\0\0\0");
///
/// #[task]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// fn main() {
///     assert_eq!(add::task().module().bytes().map(|bytes| bytes.len()), Some(8));
/// }
/// ```
#[macro_export]
macro_rules! module {
    () => {
        $crate::module!(include_bytes!(env!(
            "DPFW_GUEST_WASM",
            "the tasks are not compiled to wasm: add `dpfw-guest-build` to the build \
             dependencies and call `dpfw_guest_build::build()` in build.rs"
        )));
    };
    ($wasm:expr) => {
        #[cfg(not(target_family = "wasm"))]
        #[doc(hidden)]
        #[allow(dead_code)]
        pub(crate) fn __dpfw_guest_module() -> $crate::Module {
            struct Wasm;
            impl $crate::__private::Embedded for Wasm {
                const BYTES: &'static [u8] = $wasm;
            }
            static MODULE: $crate::__private::OnceLock<$crate::Module> =
                $crate::__private::OnceLock::new();
            MODULE.get_or_init($crate::__private::module::<Wasm>).clone()
        }
    };
}

/// What a build script embedded: the module, or its compiler's errors.
#[cfg(not(target_family = "wasm"))]
pub trait Embedded {
    /// One or the other.
    const BYTES: &'static [u8];
}

/// The embedded module.
///
/// Errors are told only when code is generated for this function, which is after the
/// host's compiler found nothing wrong: mistakes that both compilers find are reported
/// once, by the host's, in their places.
#[cfg(not(target_family = "wasm"))]
pub fn module<E: Embedded>() -> crate::Module {
    crate::Module::new(const { checked(E::BYTES) })
}

#[cfg(not(target_family = "wasm"))]
const fn checked(embedded: &'static [u8]) -> &'static [u8] {
    if let [0, b'a', b's', b'm', ..] = embedded {
        return embedded;
    }
    match std::str::from_utf8(embedded) {
        Ok(errors) => panic!("{}", errors),
        Err(_) => panic!("the embedded module is not WebAssembly"),
    }
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn a_module_is_taken_and_errors_are_told() {
        assert_eq!(checked(b"\0asm\x01\0\0\0").len(), 8);
        let told = std::panic::catch_unwind(|| checked(b"error: no such thing"));
        let told = told.expect_err("no module");
        assert_eq!(told.downcast_ref::<String>().map(String::as_str), Some("error: no such thing"));
    }
}
