//! Addresses.

use std::fmt;
use std::str::FromStr;

/// `HOST:PORT` as it was written; it is resolved when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(String);

impl Address {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hint = "write HOST:PORT, for instance 127.0.0.1:10000 or [::1]:10000";
        let (host, port) = text.rsplit_once(':').ok_or(hint)?;
        let is_bare_v6 = host.contains(':') && !host.starts_with('[');
        match host.is_empty() || is_bare_v6 || port.parse::<u16>().is_err() {
            true => Err(hint),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["127.0.0.1:0", "[::1]:10000", "localhost:65535", "a.example:1"] {
            assert_eq!(good.parse::<Address>().expect(good).as_str(), good);
        }
        for bad in ["", "10000", ":10000", "host:", "host:x", "host:65536", "::1:10000"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
