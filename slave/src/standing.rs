//! Who a peer is to a slave, and what it may do there.
//!
//! Owns: the principal, the namespaces and the rights of a session. Does not: prove any of it; the
//! link does, or nobody did and the hello is believed. Invariant: nothing but this says what a
//! session may do; the hello can ask for a namespace, and for no more than that.

use dpfw_link::{LinkError, Proof};
use dpfw_protocol::hello::{Hello, Namespace};
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::store::Principal;
use std::sync::OnceLock;

/// What a peer may do at a slave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everything that a master may.
    #[default]
    Dispatch,
    /// Look: at the slave, at what is in its namespace, and at what changes there. Nothing that it
    /// says has anything run, written or ended.
    Observe,
}

/// Who a peer is to a slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// In whose name it acts: what it has is counted there.
    pub(crate) principal: Principal,
    /// Which namespaces it may name.
    pub(crate) namespaces: Namespaces,
    pub(crate) rights: Rights,
}

/// Which namespaces a peer may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Namespaces {
    /// Any: nothing was proved, and whoever may connect is trusted alike.
    Any,
    /// Its own, which is named like it, and those that it shares with others. If it asks for none,
    /// it is in the first that it shares, or, if it shares none, in its own.
    These(Vec<Namespace>),
}

/// The masters with certificates that may have what is everybody's: all slots, and the slave's end.
#[derive(Debug, Default)]
pub(crate) struct Trusted(OnceLock<Vec<PeerId>>);

impl Trusted {
    /// Once, by the builder.
    pub(crate) fn set(&self, masters: Vec<PeerId>) {
        let _ = self.0.set(masters);
    }

    /// Whether a peer of this standing is among them. Who has shown no certificate is the operator,
    /// or as good as.
    pub(crate) fn has(&self, standing: &Standing) -> bool {
        let named = || self.0.get().is_some_and(|all| all.contains(&standing.principal.0));
        standing.namespaces == Namespaces::Any || named()
    }
}

impl Standing {
    /// That of a peer that says this of itself, of which this was proved.
    pub(crate) fn of(theirs: &Hello, proof: &Proof) -> Self {
        let Some(subject) = proof.subject() else {
            let principal = Principal(theirs.peer.clone());
            return Self { principal, namespaces: Namespaces::Any, rights: Rights::Dispatch };
        };
        let rights = match subject.role.may_dispatch() {
            true => Rights::Dispatch,
            false => Rights::Observe,
        };
        let namespaces = Namespaces::These(subject.namespaces.clone());
        Self { principal: Principal(subject.name.clone()), namespaces, rights }
    }

    /// The namespace of a session that asks for this one; `default` stands for having asked for
    /// none.
    ///
    /// # Errors
    /// [`LinkError::Refused`] if it is somebody else's.
    pub(crate) fn namespace(&self, asked: &Namespace) -> Result<Namespace, LinkError> {
        let Namespaces::These(shared) = &self.namespaces else {
            return Ok(asked.clone());
        };
        let name = self.principal.0.as_str();
        if asked.as_str() == name || shared.contains(asked) {
            return Ok(asked.clone());
        }
        if *asked != Namespace::default() {
            let words = format!("the namespace {asked} is not among those of {name}");
            return Err(LinkError::Refused(words));
        }
        let own = || {
            let cannot = |bad| LinkError::Refused(format!("{name} has no namespace: {bad}"));
            Namespace::new(name).map_err(cannot)
        };
        shared.first().cloned().map_or_else(own, Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(shared: &[&str]) -> Standing {
        let shared = shared.iter().map(|name| Namespace::new(*name).expect("a namespace"));
        Standing {
            principal: Principal(PeerId::new("alice").expect("a name")),
            namespaces: Namespaces::These(shared.collect()),
            rights: Rights::Dispatch,
        }
    }

    #[test]
    fn a_peer_is_in_its_own_namespace_or_in_one_that_it_shares_and_in_no_other() {
        let asked = |standing: &Standing, name: &str| {
            standing.namespace(&Namespace::new(name).expect("a namespace"))
        };
        let is = |got: Result<Namespace, LinkError>, name: &str| {
            assert_eq!(got.expect("allowed").as_str(), name);
        };
        let alone = standing(&[]);
        is(asked(&alone, "default"), "alice");
        is(asked(&alone, "alice"), "alice");
        let refused = asked(&alone, "bob").expect_err("somebody else's").to_string();
        assert_eq!(refused, "the namespace bob is not among those of alice");
        let shares = standing(&["team", "default", "other"]);
        is(asked(&shares, "team"), "team");
        is(asked(&shares, "default"), "default");
        is(asked(&shares, "alice"), "alice");
        asked(&shares, "bob").expect_err("somebody else's");
        is(asked(&standing(&["team"]), "default"), "team");
        let any = Standing { namespaces: Namespaces::Any, ..alone };
        is(asked(&any, "bob"), "bob");
    }
}
