//! The handshake by which peers on one machine show each other the token: whoever has it not is never
//! let in, whatever it says, and never hears more than it may.

use dpfw_link::KNOCK;
use dpfw_link::fuzzing::{Side, knock};

/// A nonce, and a hash.
const PART: usize = 32;

/// Lets either side hear the bytes.
pub fn body(data: &[u8]) {
    let mut rest = data;
    let is_listener = super::number(&mut rest).is_multiple_of(2);
    let side = if is_listener { Side::Listener } else { Side::Dialler };
    let (ended, said) = knock(side, [7; PART], rest);
    // What shows the token is of a nonce that the peer did not know.
    let error = ended.err().map(|error| error.to_string());
    assert!(error.is_some_and(|text| !text.is_empty()), "it was let in");
    match side {
        // Its hash is for whoever has shown that it has the token.
        Side::Dialler => assert_eq!(said.len(), KNOCK.len() + PART, "{said:?}"),
        Side::Listener if rest.starts_with(&KNOCK) && rest.len() >= KNOCK.len() + PART => {
            assert_eq!(said.len(), KNOCK.len() + 2 * PART, "{said:?}");
        }
        // Whoever does not knock hears nothing.
        Side::Listener => assert!(said.is_empty(), "{said:?}"),
    }
    assert!(said.is_empty() || said.starts_with(&KNOCK));
}
