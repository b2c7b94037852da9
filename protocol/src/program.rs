//! What a program is started with: the arguments of an attempt at a WASI program.
//!
//! Invariant: what is decoded is bounded, and has no NUL within a text.

use crate::error::Cause;
use serde::{Deserialize, Serialize};

/// The name of the function that a program's attempts are bound to.
pub const START: &str = "_start";

/// Bytes of arguments and environment together: half of what Linux allows by default.
pub const MAX_INVOCATION: usize = 1 << 20;

/// What a program is started with; encoded as a MessagePack array.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// Its arguments; the first is its name.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Whether there is something at its stdin. If not, it finds the end at once.
    pub input: bool,
}

impl Invocation {
    /// The bytes of its texts.
    fn len(&self) -> usize {
        let args = self.args.iter().map(|arg| arg.len() + 1);
        let env = self.env.iter().map(|(name, value)| name.len() + value.len() + 2);
        args.chain(env).sum()
    }

    fn check(&self) -> Result<(), String> {
        if self.len() > MAX_INVOCATION {
            return Err(format!(
                "arguments and environment are {} bytes; {MAX_INVOCATION} are allowed",
                self.len()
            ));
        }
        if let Some(arg) = self.args.iter().find(|arg| arg.contains('\0')) {
            return Err(format!("the argument {arg:?} has a NUL in it"));
        }
        let is_bad = |(name, value): &&(String, String)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        };
        match self.env.iter().find(is_bad) {
            Some((name, _)) => Err(format!("{name:?} cannot be set in an environment")),
            None => Ok(()),
        }
    }

    /// Encodes it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        self.check()?;
        rmp_serde::to_vec(self).map_err(|e| e.to_string())
    }

    /// Decodes one that came from a peer.
    ///
    /// # Errors
    /// [`Cause::BadArguments`] if it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Cause> {
        let bad = |message: String| Cause::BadArguments { message };
        // A text of a byte is two bytes encoded, and much more decoded.
        if bytes.len() > 2 * MAX_INVOCATION {
            return Err(bad(format!("{} bytes are no arguments of a program", bytes.len())));
        }
        let mut rest = bytes;
        let this: Self = rmp_serde::from_read(&mut rest).map_err(|e| bad(e.to_string()))?;
        if !rest.is_empty() {
            return Err(bad("bytes follow the arguments of a program".into()));
        }
        this.check().map_err(bad)?;
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(args: &[&str], env: &[(&str, &str)]) -> Invocation {
        Invocation {
            args: args.iter().map(ToString::to_string).collect(),
            env: env.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            input: true,
        }
    }

    #[test]
    fn what_a_program_is_started_with_survives_the_wire() {
        let invocation = with(&["hexyl", "-n", "3", "ä"], &[("LANG", "C"), ("EMPTY", "")]);
        let bytes = invocation.encode().expect("in order");
        assert_eq!(Invocation::decode(&bytes), Ok(invocation));
    }

    #[test]
    fn what_no_program_can_be_given_is_refused_on_both_sides() {
        for (bad, what) in [
            (with(&["a\0b"], &[]), "NUL"),
            (with(&[], &[("", "x")]), "environment"),
            (with(&[], &[("A=B", "x")]), "environment"),
            (with(&[], &[("A", "x\0")]), "environment"),
            (with(&[&"x".repeat(MAX_INVOCATION)], &[]), "allowed"),
        ] {
            assert!(bad.encode().expect_err(what).contains(what));
            let bytes = rmp_serde::to_vec(&bad).expect("encodes");
            assert!(Invocation::decode(&bytes).expect_err(what).to_string().contains(what));
        }
        let mut bytes = with(&["x"], &[]).encode().expect("in order");
        bytes.push(0);
        assert!(Invocation::decode(&bytes).is_err(), "trailing bytes");
        assert!(Invocation::decode(&bytes[..3]).is_err(), "truncated");
    }
}
