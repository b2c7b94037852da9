//! What guests are granted, and that it is theirs alone: environment, clocks, randomness.

use anyhow::{Context, Result};
use dpfw::grants::{Clocks, Directory, Grants, GrantsError, Randomness, Rule, Who};
use dpfw::inspection::Warming;
use dpfw::{Depth, Limits, Master, PeerId, Security, StartError, inspect};
use dpfw_test_tasks::{here, look, looked, variable, variables, window};
use dpfw_tests::fleet::{Pair, listening, slave};
use dpfw_tests::programs::probe;
use dpfw_tests::wait::within;
use std::time::Duration;

/// A rule for everyone.
pub(super) fn everyone(change: impl FnOnce(&mut Rule)) -> Grants {
    of(Who::Everyone, change)
}

/// One rule.
pub(super) fn of(who: Who, change: impl FnOnce(&mut Rule)) -> Grants {
    let mut rule = Rule::of(who);
    change(&mut rule);
    Grants { rules: vec![rule] }
}

/// A slave whose guests are granted this, and its master.
pub(super) async fn granting(grants: Grants) -> Result<Pair> {
    Pair::start(slave("s1", 1)?.grants(grants)).await
}

/// A master of that name.
async fn named(name: &str, address: &str) -> Result<Master> {
    let builder = Master::builder().name(PeerId::new(name)?).slave(address);
    let builder = builder.dial_pause(Duration::from_millis(20));
    Ok(within("the link", builder.build()).await??)
}

fn env(rule: &mut Rule) {
    rule.env = ["A=1", "B=two words"].iter().filter_map(|text| text.parse().ok()).collect();
}

#[tokio::test]
async fn nothing_is_granted_unless_a_rule_says_so() -> Result<()> {
    let pair = Pair::simple().await?;
    let all = within("the variables", pair.master.dispatch(variables::call())).await??;
    assert_eq!(all, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn variables_are_there_that_were_granted_and_no_others() -> Result<()> {
    let grants = everyone(|rule| {
        env(rule);
        // Of the slave's own, which cargo sets for its tests; and one that nobody has.
        rule.env
            .extend(["CARGO_PKG_NAME".parse(), "DPFW_NOBODY_HAS".parse()].into_iter().flatten());
    });
    let pair = granting(grants).await?;
    let ask = |name: &str| pair.master.dispatch(variable::call(name.into()));
    assert_eq!(within("A", ask("A")).await??.as_deref(), Some("1"));
    assert_eq!(within("B", ask("B")).await??.as_deref(), Some("two words"));
    assert_eq!(within("its own", ask("CARGO_PKG_NAME")).await??.as_deref(), Some("dpfw-tests"));
    assert!(std::env::var_os("PATH").is_some());
    assert_eq!(within("PATH", ask("PATH")).await??, None);
    let all = within("all", pair.master.dispatch(variables::call())).await??;
    assert_eq!(all, ["A=1", "B=two words", "CARGO_PKG_NAME=dpfw-tests"]);
    Ok(())
}

#[tokio::test]
async fn programs_and_residents_have_variables_as_well() -> Result<()> {
    let pair = granting(everyone(env)).await?;
    let output =
        within("the program", pair.master.output(probe(&["env"]).env("A", "mine"))).await??;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "B=two words\nA=mine\n");
    let resident = within("it", pair.master.spawn("k", window::new())).await??;
    let value = within("the value", resident.call(window::variable("A".into()))).await??;
    assert_eq!(value.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test]
async fn another_masters_grant_is_not_there_for_me() -> Result<()> {
    let its = of(Who::Master(PeerId::new("trusted")?), env);
    let (_slave, address) = listening(slave("s1", 1)?.grants(its)).await?;
    let (trusted, other) = (named("trusted", &address).await?, named("other", &address).await?);
    for (master, value) in [(&trusted, Some("1")), (&other, None), (&trusted, Some("1"))] {
        let found = within("the value", master.dispatch(variable::call("A".into()))).await??;
        assert_eq!(found.as_deref(), value);
    }
    // A resident has what its owner has, whoever calls it.
    let resident = within("it", trusted.spawn("k", window::new())).await??;
    let same = within("it", other.resident::<dpfw_test_tasks::Window>("k")).await??;
    assert_eq!(resident.key(), same.key());
    let value = within("the value", same.call(window::variable("A".into()))).await??;
    assert_eq!(value.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test]
async fn a_modules_grant_is_there_for_that_module_alone() -> Result<()> {
    let its = of(Who::Module(variables::call().task().module().hash()), env);
    let pair = granting(its).await?;
    let all = within("the variables", pair.master.dispatch(variables::call())).await??;
    assert_eq!(all, ["A=1", "B=two words"]);
    let output = within("the program", pair.master.output(probe(&["env"]))).await??;
    assert!(output.stdout.is_empty(), "another module has it: {output:?}");
    Ok(())
}

#[tokio::test]
async fn of_rules_that_apply_all_are_granted_and_the_first_counts() -> Result<()> {
    let mut grants = everyone(|rule| rule.env.extend("A=first".parse()));
    grants.rules.extend(
        everyone(|rule| {
            env(rule);
            rule.clocks = Clocks::Fixed(7);
        })
        .rules,
    );
    grants.rules.extend(everyone(|rule| rule.clocks = Clocks::Fixed(8)).rules);
    let pair = granting(grants).await?;
    let all = within("the variables", pair.master.dispatch(variables::call())).await??;
    assert_eq!(all, ["A=first", "B=two words"]);
    let (since, ..) = within("the clock", pair.master.dispatch(here::call())).await??;
    assert_eq!(since, 7_000_000_000);
    Ok(())
}

#[tokio::test]
async fn fixed_clocks_and_randomness_are_the_same_on_two_slaves() -> Result<()> {
    let fixed = |seed| {
        everyone(|rule| {
            (rule.clocks, rule.randomness) = (Clocks::Fixed(1_000_000), Randomness::Seed(seed));
        })
    };
    let mut all = Vec::new();
    for grants in [fixed(1), fixed(1), fixed(2), Grants::default()] {
        let pair = granting(grants).await?;
        let run = || async { anyhow::Ok(within("it", pair.master.dispatch(here::call())).await??) };
        let first = run().await?;
        let output = within("the program", pair.master.output(probe(&["fixed"]))).await??;
        all.push((first, run().await?, String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let [one, two, other, free] = &all[..] else { anyhow::bail!("four slaves") };
    assert_eq!(one, two);
    assert_eq!(one.0, one.1, "each sandbox begins anew");
    assert_eq!((one.0.0, one.0.1), (1_000_000_000_000_000, 1_000));
    assert!(one.2.starts_with("1000000 "), "{}", one.2);
    assert_ne!((one.0.2, &one.2), (other.0.2, &other.2), "another seed");
    assert_eq!(one.0.0, other.0.0);
    assert_ne!(free.0, free.1, "unless told they are real");
    assert!(free.0.0 > 1_700_000_000_000_000_000);
    Ok(())
}

#[tokio::test]
async fn while_an_image_is_made_nothing_is_there() -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("f"), "text")?;
    let pair = granting(everyone(|rule| {
        env(rule);
        rule.directories.push(Directory::read_only(directory.path(), "/d"));
    }))
    .await?;
    let image = within("the image", pair.master.init(look::call("/d/f".into())).into_future());
    let image = image.await??;
    let looked = within("the task", image.dispatch(looked::call())).await??;
    assert_eq!(looked, (Vec::new(), Ok("text".into())), "and its tasks have what was granted");
    Ok(())
}

#[test]
fn a_module_that_looks_outside_is_warmed_like_any_other() {
    let wasm = variables::call().task().module().bytes().cloned().unwrap_or_default();
    assert_eq!(inspect(&wasm, &Limits::default(), Depth::Look).warming, Warming::Warmed);
}

#[tokio::test]
async fn on_an_insecure_network_nothing_is_granted() -> Result<()> {
    let insecure =
        |grants| anyhow::Ok(slave("s1", 1)?.security(Security::insecure()).grants(grants));
    let refused = insecure(everyone(env))?.build().err().context("it starts")?;
    assert!(matches!(refused, StartError::Grants(GrantsError::Insecure)), "{refused}");
    assert!(refused.to_string().contains("--insecure-network"), "{refused}");
    // What opens nothing is no such thing.
    drop(insecure(everyone(|rule| rule.clocks = Clocks::Fixed(0)))?.build()?);
    Ok(())
}

#[test]
fn what_cannot_be_granted_is_named_at_the_start() -> Result<()> {
    let refused = |directory: Directory| -> Result<String> {
        let grants = everyone(|rule| rule.directories.push(directory));
        Ok(slave("s1", 1)?.grants(grants).build().err().context("it starts")?.to_string())
    };
    let missing = refused(Directory::read_only("/nobody/has/this", "/d"))?;
    assert!(missing.contains("/nobody/has/this"), "{missing}");
    let file = refused(Directory::read_only("/proc/self/exe", "/d"))?;
    assert!(file.contains("/proc/self/exe"), "{file}");
    let relative = refused(Directory::read_only("here", "/d"))?;
    assert!(relative.contains("absolute"), "{relative}");
    Ok(())
}
