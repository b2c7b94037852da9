//! What an item becomes, and how it is called in code, records and mistakes.

/// What an item becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Task,
    Init,
    Resident,
}

impl Role {
    /// The prefix of its exports; `dpfw_protocol` names them `signature::EXPORT_PREFIX`,
    /// `image::INIT_PREFIX` and `resident::RESIDENT_PREFIX`.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Task => "dpfw:",
            Self::Init => "dpfw-init:",
            Self::Resident => "dpfw-resident:",
        }
    }

    /// The prefix of the export that makes many calls, if it has one;
    /// `dpfw_protocol::signature::BATCH_PREFIX`.
    pub(crate) fn batch_prefix(self) -> Option<&'static str> {
        (self == Self::Task).then_some("dpfw-batch:")
    }

    /// What its records say that it is.
    pub(crate) fn record(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Init => "init",
            Self::Resident => "resident",
        }
    }

    /// In a sentence.
    pub(crate) fn one(self) -> &'static str {
        match self {
            Self::Task => "a task",
            Self::Init => "an init",
            Self::Resident => "a resident",
        }
    }

    /// The options that its macro knows.
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Task => &["once", "effect_free", "name", "image"],
            Self::Init => &[],
            Self::Resident => &["name"],
        }
    }
}
