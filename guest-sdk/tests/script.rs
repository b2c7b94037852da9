//! A tasks crate with its build script, through the changes that a day brings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LIB: &str = r#"
    dpfw_guest::module!();

    #[cfg(all(target_family = "wasm", outer))]
    compile_error!("the outer build's flags came in");

    #[dpfw_guest::task]
    pub fn answer() -> u8 { helper::ANSWER }

    #[cfg(feature = "extra-task")]
    #[dpfw_guest::task]
    pub fn extra() {}
"#;

const MAIN: &str = r#"
    fn main() {
        let module = tasks::answer::task().module();
        let names: Vec<_> = module.tasks().unwrap().tasks().map(|t| t.name.as_str()).collect();
        print!("{} {}", module.hash().to_hex(), names.join(" "));
    }
"#;

/// A package in a directory of its own, with another that it depends on.
struct Package(PathBuf);

impl Package {
    fn new() -> Self {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join("script test"));
        let helper = "[package]\nname = \"helper\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
        let manifest = format!(
            "[package]\nname = \"tasks\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
             [features]\ndefault = []\nextra-task = []\n\
             [dependencies]\ndpfw-guest.path = {sdk:?}\nhelper.path = \"helper\"\n\
             [build-dependencies]\ndpfw-guest-build.path = {:?}\n",
            sdk.join("build")
        );
        package.write("Cargo.toml", &manifest);
        package.write("build.rs", "fn main() { dpfw_guest_build::build(); }");
        package.write("helper/Cargo.toml", helper);
        package.write("helper/src/lib.rs", "pub const ANSWER: u8 = 42;");
        package.write("src/lib.rs", LIB);
        package.write("src/main.rs", MAIN);
        let lock = fs::read_to_string(sdk.join("../Cargo.lock")).expect("the lock file");
        package.write("Cargo.lock", &lock);
        package
    }

    fn write(&self, file: &str, text: &str) {
        let file = self.0.join(file);
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(file, text).expect("a file");
    }

    /// Runs the program with settings around it that must not reach the inner build.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO"));
        command
            .current_dir(&self.0)
            .args(["run", "--quiet"])
            .args(arguments)
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .env("RUSTFLAGS", "--cfg outer --check-cfg cfg(outer)")
            .env("CARGO_TARGET_WASM32_WASIP1_LINKER", "no-such-linker")
            .env("CARGO_PROFILE_RELEASE_PANIC", "unwind");
        command.output().expect("cargo starts")
    }

    fn hash_and_names(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stderr, "", "the inner build is quiet");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let (hash, names) = stdout.split_once(' ').expect("both");
        (hash.to_owned(), names.to_owned())
    }

    fn errors(&self) -> String {
        let output = self.run(&[]);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

#[test]
fn a_day_with_a_build_script() {
    let package = Package::new();
    let first = package.hash_and_names(&[]);
    assert_eq!(first.1, "answer");
    assert_eq!(package.hash_and_names(&[]), first);

    // A change in a package that the tasks depend on.
    package.write("helper/src/lib.rs", "pub const ANSWER: u8 = 41;");
    assert_ne!(package.hash_and_names(&[]), first);
    package.write("helper/src/lib.rs", "pub const ANSWER: u8 = 42;");

    let extra = package.hash_and_names(&["--features", "extra-task"]);
    assert_eq!(extra.1, "answer extra");

    // A mistake that both compilers find is reported by the host's, in its place.
    package.write("src/lib.rs", &LIB.replace("helper::ANSWER", "\"text\""));
    let errors = package.errors();
    assert!(errors.contains("error[E0308]") && errors.contains("--> src/lib.rs:8"), "{errors}");
    assert!(!errors.contains("evaluation panicked"), "{errors}");

    // One that only the inner build finds is told by `module!`.
    let wasm_only = "#[cfg(target_family = \"wasm\")] compile_error!(\"not on wasm\");";
    package.write("src/lib.rs", &format!("{LIB}{wasm_only}"));
    let errors = package.errors();
    assert!(
        errors.contains("do not compile to wasm") && errors.contains("not on wasm"),
        "{errors}"
    );

    package.write("src/lib.rs", LIB);
    assert_eq!(package.hash_and_names(&[]), first);
}
