//! Sets of attempts, small on the wire.
//!
//! Owns: [`AttemptSet`] and its bytes. Invariant: its attempts grow and there are no more
//! than [`AttemptSet::MOST`], whoever made it.

use crate::ids::AttemptId;
use crate::limits::MAX_ATTEMPTS;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Attempts of one session, each once, in the order of their ids.
///
/// On the wire it is the distance of each from the one before it (of the first from 0), as
/// unsigned LEB128: attempts of one session lie close together, so that most cost a byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptSet(Vec<AttemptId>);

impl AttemptSet {
    /// A slave holds no more of one session, those included that it has just answered.
    pub const MOST: usize = 2 * MAX_ATTEMPTS;

    /// The attempts in their order.
    pub fn as_slice(&self) -> &[AttemptId] {
        &self.0
    }

    /// The attempts in their order.
    pub fn into_vec(self) -> Vec<AttemptId> {
        self.0
    }
}

impl FromIterator<AttemptId> for AttemptSet {
    /// Those beyond [`MOST`](Self::MOST), of which there are none, are left out.
    fn from_iter<I: IntoIterator<Item = AttemptId>>(attempts: I) -> Self {
        let mut attempts: Vec<_> = attempts.into_iter().collect();
        attempts.sort_unstable();
        attempts.dedup();
        attempts.truncate(Self::MOST);
        Self(attempts)
    }
}

impl Serialize for AttemptSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.0.len() + 8);
        let mut before = 0;
        for AttemptId(attempt) in &self.0 {
            let distance = attempt.checked_sub(before);
            let mut left = distance.ok_or_else(|| ser::Error::custom("attempts out of order"))?;
            while left > 0x7f {
                bytes.push(left as u8 | 0x80);
                left >>= 7;
            }
            bytes.push(left as u8);
            before = *attempt;
        }
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for AttemptSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: &'de [u8] = serde_bytes::deserialize(deserializer)?;
        let mut attempts = Vec::new();
        let (mut before, mut distance, mut shift) = (0u64, 0u64, 0u32);
        for byte in bytes {
            let part = u64::from(byte & 0x7f);
            if shift > 63 || part << shift >> shift != part {
                return Err(de::Error::custom("a distance of attempts does not fit 64 bits"));
            }
            distance |= part << shift;
            shift += 7;
            if byte & 0x80 != 0 {
                continue;
            }
            if part == 0 && shift > 7 {
                return Err(de::Error::custom("a distance of attempts is longer than it needs"));
            }
            let attempt = before.checked_add(distance).filter(|_| distance > 0);
            before = attempt.ok_or_else(|| de::Error::custom("attempts do not grow"))?;
            if attempts.len() == Self::MOST {
                return Err(de::Error::custom("too many attempts"));
            }
            attempts.push(AttemptId(before));
            (distance, shift) = (0, 0);
        }
        match shift {
            0 => Ok(Self(attempts)),
            _ => Err(de::Error::custom("the last distance of attempts is cut off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(attempts: &[u64]) -> AttemptSet {
        attempts.iter().copied().map(AttemptId).collect()
    }

    fn decode(bytes: &[u8]) -> Result<AttemptSet, String> {
        let packed =
            rmp_serde::to_vec(serde_bytes::Bytes::new(bytes)).map_err(|e| e.to_string())?;
        rmp_serde::from_slice(&packed).map_err(|e| e.to_string())
    }

    #[test]
    fn close_attempts_cost_a_byte_each() {
        let bytes = rmp_serde::to_vec(&set(&[1, 2, 3, 300, 301])).expect("it serialises");
        assert_eq!(bytes, b"\xc4\x06\x01\x01\x01\xa9\x02\x01");
    }

    #[test]
    fn attempts_are_put_in_order_and_counted_once() {
        assert_eq!(set(&[3, 1, 3, 2]).as_slice(), set(&[1, 2, 3]).as_slice());
        let most = (1..).take(AttemptSet::MOST + 5).map(AttemptId).collect::<AttemptSet>();
        assert_eq!(most.into_vec().len(), AttemptSet::MOST);
    }

    #[test]
    fn f42_what_is_no_set_is_refused() {
        for (bytes, why) in [
            (&[0][..], "do not grow"),
            (&[1, 0], "do not grow"),
            (&[0x80], "cut off"),
            (&[0x81, 0x00], "longer than it needs"),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], "64 bits"),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], "64 bits"),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1], "do not grow"),
            (&[1; AttemptSet::MOST + 1], "too many"),
        ] {
            let error = decode(bytes).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(decode(&[1; AttemptSet::MOST]).map(|set| set.0.len()), Ok(AttemptSet::MOST));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(attempts in proptest::collection::vec(1u64.., 0..200)) {
            let set = set(&attempts);
            let bytes = rmp_serde::to_vec(&set).expect("it serialises");
            prop_assert_eq!(rmp_serde::from_slice::<AttemptSet>(&bytes).expect("it was written"), set);
        }

        #[test]
        fn what_is_read_is_written(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(set) = decode(&bytes) {
                let again = rmp_serde::to_vec(&set).expect("it serialises");
                prop_assert_eq!(&again[2..], &bytes[..]);
            }
        }
    }
}
