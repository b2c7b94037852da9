//! A certificate that a peer shows: any bytes give a subject or an error.

use dpfw_certs::{Subject, SubjectError};

/// Reads the bytes as a certificate.
pub fn body(data: &[u8]) {
    match Subject::of(data) {
        Ok(subject) => {
            // What it says is one thing: read again it is the same, and its namespaces are few.
            assert!(subject.namespaces.len() <= 64, "{} namespaces", subject.namespaces.len());
            assert_eq!(Subject::of(data).as_ref(), Ok(&subject));
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !matches!(error, SubjectError::Large(n) if n == 0));
        }
    }
}
