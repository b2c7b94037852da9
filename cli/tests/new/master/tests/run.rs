//! What `dpfw new` makes runs as it is.

use std::process::Command;

#[test]
fn it_prints_what_its_tasks_give() {
    let output = Command::new(env!("CARGO_BIN_EXE_sums")).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "2 + 3 = 5\n\
         {\"be\": 1, \"to\": 1}\n\
         {\"be\": 1, \"not\": 1, \"or\": 1, \"to\": 1}\n"
    );
}
