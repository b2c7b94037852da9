//! `--image KEY`: the image that tasks start from.

use crate::advice;
use crate::exit::{Exit, Failure};
use clap::Args;
use dpfw::{Image, LookupError, Master};

/// What tasks start from.
#[derive(Args, Debug)]
pub(crate) struct From {
    /// Starts from the image under this key: the memory after one of the module's inits, which
    /// `dpfw image build --name KEY` made, or another master
    #[arg(long, value_name = "KEY")]
    image: Option<String>,
}

impl From {
    /// Looks the image up that was asked for, if one was.
    ///
    /// # Errors
    /// The [`Failure`] that there is none.
    pub(crate) async fn find(&self, master: &Master) -> Result<Option<Image>, Failure> {
        let Some(key) = &self.image else { return Ok(None) };
        master.image(key).await.map(Some).map_err(|error| not_found(&error))
    }
}

/// What is said of an image that is not found.
fn not_found(error: &LookupError) -> Failure {
    let (exit, hint) = match error {
        LookupError::Absent { .. } => {
            let hint = "`dpfw image build MODULE INIT --name KEY` makes one";
            (Exit::Absent, Some(hint.to_owned()))
        }
        LookupError::NotShared { .. } => {
            (Exit::Absent, Some("`dpfw image build` makes one that serves everybody".to_owned()))
        }
        LookupError::WrongKind { .. } => {
            (Exit::Usage, Some("`dpfw image list` shows the images of a slave".to_owned()))
        }
        LookupError::Differ { .. } => {
            let hint = "name one slave (--slave), or build it anew on all of them";
            (Exit::Usage, Some(hint.to_owned()))
        }
        LookupError::NoSlaves { .. } => {
            (Exit::Link, Some("`dpfw slaves --slave ADDR` shows which slaves answer".to_owned()))
        }
        LookupError::BadKey { cause } => (Exit::Usage, advice::on(cause)),
        LookupError::Store(error) => (Exit::of(error.cause()), advice::on(error.cause())),
        _ => (Exit::Task, None),
    };
    let text = match error {
        // What a program would write is no help here.
        LookupError::Absent { key, asked, .. } => {
            let plural = if *asked == 1 { "" } else { "s" };
            format!("no slave has an image `{key}` ({asked} slave{plural} asked)")
        }
        LookupError::Differ { .. } => {
            error.to_string().trim_end_matches("; `.on(&slave)` chooses").to_owned()
        }
        other => other.to_string(),
    };
    Failure { hint, ..Failure::new(exit, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_would_write_is_not_told_to_a_person() {
        let peer = |name: &str| dpfw::PeerId::new(name).expect("printable");
        let id = |byte| dpfw::ImageId::from_bytes([byte; 32]);
        let images = vec![(peer("s1"), id(1)), (peer("s2"), id(2))];
        let failure = not_found(&LookupError::Differ { key: "index".into(), images });
        assert_eq!(
            failure.text,
            "`index` is not the same image everywhere: 0101010101010101 on s1, \
             0202020202020202 on s2"
        );
        assert_eq!(failure.exit, Exit::Usage);
        let failure = not_found(&LookupError::Absent { key: "index".into(), asked: 2 });
        assert_eq!(failure.text, "no slave has an image `index` (2 slaves asked)");
        assert_eq!(failure.exit, Exit::Absent);
    }
}
