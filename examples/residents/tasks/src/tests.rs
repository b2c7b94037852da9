//! Every operation and every refusal, without a slave; the calls as they print.

use super::*;

#[test]
fn d12_a_generator_gives_one_and_then_two() {
    let mut plain = Generator::new();
    assert_eq!((plain.invoke(), plain.invoke()), (1, 2));
    assert_eq!(Generator::load(plain.save()).invoke(), 3, "it goes on where it was saved");
    assert_eq!(generator::new().to_string(), "generator.new()");
    assert_eq!(generator::invoke().to_string(), "generator.invoke()");
}

#[test]
fn r9_the_tuple_server_keeps_what_is_set() {
    let mut plain = TupleServer::new();
    let list = Value::List(vec![1.into(), true.into()]);
    assert_eq!(plain.get("user0".into()), None);
    assert_eq!(plain.set("user0".into(), 100.into()), 100.into(), "the value comes back");
    plain.set("user0".into(), 200.into());
    plain.set(list.clone(), "under a list".into());
    plain.hello();
    assert_eq!(plain.get("user0".into()), Some(200.into()));
    assert_eq!(plain.get(list), Some("under a list".into()));
    assert_eq!(TupleServer::load(plain.save()), plain);
    let call = tuple_server::set("user0".into(), 100.into());
    assert_eq!(call.to_string(), r#"tuple_server.set({"Text":"user0"}, {"Number":100})"#);
}

#[test]
fn r9_the_bank_opens_accounts_and_moves_money() {
    let mut plain = Bank::new();
    assert_eq!(plain.new_account("ada".into()), Opened::Created { who: "ada".into() });
    assert_eq!(plain.add("ada".into(), 100), Changed::Ok { balance: 100 });
    assert_eq!(plain.remove("ada".into(), 70), Changed::Ok { balance: 30 });
    assert_eq!(plain.remove("ada".into(), 30), Changed::Ok { balance: 0 }, "to the last");
    assert_eq!(Bank::load(plain.save()), plain);
    assert_eq!(bank::add("ada".into(), 100).to_string(), r#"bank.add("ada", 100)"#);
}

#[test]
fn r9_the_bank_refuses_and_changes_nothing() {
    let mut plain = Bank::new();
    let (ada, bob) = (|| "ada".to_owned(), || "bob".to_owned());
    plain.new_account(ada());
    plain.add(ada(), 100);
    let before = plain.clone();
    assert_eq!(plain.new_account(ada()), Opened::AlreadyExists);
    assert_eq!(plain.remove(ada(), 101), Changed::InsufficientFunds { balance: 100 });
    assert_eq!(plain.remove(bob(), 0), Changed::InvalidAccount { who: bob() });
    assert_eq!(plain.add(bob(), 1), Changed::InvalidAccount { who: bob() });
    assert_eq!(plain.add(ada(), u64::MAX), Changed::TooMuch { balance: 100 });
    assert_eq!(plain, before);
}

/// Both have a constructor and methods for slaves, and neither `save` nor `load` for callers.
#[test]
fn the_module_describes_all_three() {
    let module = <Bank as dpfw_guest::Class>::module();
    let table = module.tasks().expect("a description");
    let names: Vec<_> = table.residents().map(|method| method.name.as_str()).collect();
    let all = [
        "bank.add",
        "bank.load",
        "bank.new",
        "bank.new_account",
        "bank.remove",
        "bank.save",
        "generator.invoke",
        "generator.load",
        "generator.new",
        "generator.save",
        "tuple_server.get",
        "tuple_server.hello",
        "tuple_server.load",
        "tuple_server.new",
        "tuple_server.save",
        "tuple_server.set",
    ];
    assert_eq!(names, all);
    let changed = table.method("bank.add").expect("described");
    assert_eq!(changed.task.line(), "bank.add(who: String, amount: u64) -> Changed");
    assert_eq!(changed.types.len(), 1);
    assert_eq!(table.method("bank.new").expect("described").task.line(), "bank.new() -> Self");
}
