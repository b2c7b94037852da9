//! What is limited, how a guest traps, and what is the matter with a disk, in words.
//!
//! Owns: the words, which are those of the wire and of messages. Invariant: a word that this
//! version does not know is kept as it is.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
            /// One that this version does not know.
            Other(String),
        }

        impl $name {
            /// The word on the wire and in messages.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.into()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a guest did that WebAssembly forbids.
    Trap {
        /// Recursion without end.
        StackOverflow = "stack overflow",
        /// An `unreachable` instruction: most often an abort.
        Unreachable = "unreachable executed",
        /// A load or store outside memory.
        MemoryOutOfBounds = "memory access out of bounds",
        /// An access outside a table.
        TableOutOfBounds = "table access out of bounds",
        /// A call through an empty table element.
        NullCall = "call of a null table element",
        /// A call through a table with another signature.
        BadSignature = "indirect call with another signature",
        /// An integer division by zero.
        DivisionByZero = "integer division by zero",
        /// An integer operation without a result.
        IntegerOverflow = "integer overflow",
        /// A float that is no integer.
        BadConversion = "invalid conversion to integer",
        /// The guest ended itself with an exit code instead of returning.
        Exit = "the guest called exit",
    }
}

words! {
    /// What is limited.
    Limit {
        /// Bytes of linear memory.
        Memory = "memory",
        /// Elements of a table.
        Table = "table",
        /// Bytes of a result.
        Result = "result",
        /// Bytes of arguments.
        Arguments = "arguments",
        /// Milliseconds that a task may run at this slave.
        Time = "time",
        /// Calls of the host by a task's guest.
        HostCalls = "host calls",
        /// Bytes of a module.
        Module = "module size",
        /// Functions of a module.
        Functions = "functions",
        /// What a module imports.
        Imports = "imports",
        /// What a module exports.
        Exports = "exports",
        /// Bytes of the names of what a module imports and exports.
        Names = "names",
        /// Bytes of the section that describes a module's tasks.
        Section = "section",
        /// Bytes of the body of one of a module's functions.
        FunctionSize = "function size",
        /// Locals of one of a module's functions.
        Locals = "locals",
        /// Milliseconds that loading a module may take.
        CompileTime = "compile time",
        /// Bytes that compiling a module may take in a process of its own.
        CompileMemory = "compile memory",
        /// Milliseconds that an init may run.
        ImageTime = "image time",
        /// Bytes of memory that an image may have.
        ImageMemory = "image memory",
        /// Bytes of data segments of a module.
        Data = "data segments",
        /// Bytes of log lines of a task.
        Log = "log bytes",
        /// Bytes of the keyed store.
        Quota = "quota",
        /// Entries of the keyed store.
        Entries = "entries of the store",
        /// Bytes of a key.
        Key = "key",
        /// Entries that a task builds at a time.
        Claims = "entries being built",
    }
}

words! {
    /// What is the matter with the disk of a store.
    Storage {
        /// There is no room. Writing goes on when there is.
        Full = "full",
        /// It failed, and is not trusted until the slave starts again.
        Failed = "failed",
        /// The slave has no directory: all is in memory.
        Absent = "absent",
    }
}

impl Storage {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Full => "the slave's disk is full",
            Self::Failed => "the slave's disk failed; its log says how",
            Self::Absent => "the slave has no directory for its store",
            Self::Other(word) => word,
        }
    }
}

impl Limit {
    /// An amount of what is limited, in words.
    pub fn amount(&self, allowed: u64) -> String {
        match self {
            Self::Time | Self::CompileTime | Self::ImageTime => format!("{allowed} ms"),
            Self::Table => format!("{allowed} elements"),
            Self::Locals => format!("{allowed} locals"),
            Self::HostCalls => format!("{allowed} calls"),
            Self::Imports => format!("{allowed} imports"),
            Self::Exports => format!("{allowed} exports"),
            Self::Functions => format!("{allowed} functions"),
            Self::Entries | Self::Claims => format!("{allowed} entries"),
            // An empty one is none.
            Self::Key => format!("1 to {allowed} bytes"),
            Self::Other(_) => allowed.to_string(),
            _ => format!("{allowed} bytes"),
        }
    }
}
