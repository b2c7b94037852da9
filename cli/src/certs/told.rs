//! What a person, or a program, reads of certificates.
//!
//! Invariants: texts of certificates are escaped; whatever was done ends with what to type next.

use crate::escape;
use crate::exit::Failure;
use crate::json;
use crate::screen::Form;
use crate::table::{Align, table};
use dpfw_certs::show::{Certificate, State};
use dpfw_certs::{Authority, CertRole, Issued, Revoked, Subject, Validity};
use serde_json::{Value, json};
use std::fmt::{Display, Write as _};
use std::path::Path;
use std::time::SystemTime;

/// An authority was made.
pub(super) fn founded(dir: &Path, own: &[Certificate], form: Form) -> Result<Vec<u8>, Failure> {
    let Some(own) = own.first() else { return Ok(Vec::new()) };
    let name = escape::line(&own.name);
    if form == Form::Json {
        return json::line(
            &json!({ "directory": dir, "name": own.name, "in_force": own.validity }),
        );
    }
    let there = match dir == Path::new(super::USUAL) {
        true => String::new(),
        false => format!(" --dir {}", shell(dir)),
    };
    let until = own.validity.until.date();
    let key = shell(&dir.join("ca.key"));
    Ok(format!(
        "{}: the authority {name}, in force until {until}\n\
         {key} is its key. Whoever has it can be any peer: keep it where no peer runs.\n\n\
         Next, a certificate for each peer:\n  \
         dpfw certs issue --role slave --name slave-1 --san HOST{there}\n  \
         dpfw certs issue --role master --name master-1{there}\n",
        shell(dir)
    )
    .into_bytes())
}

/// A certificate was issued.
pub(super) fn issued(
    authority: &Authority,
    issued: &Issued,
    form: Form,
) -> Result<Vec<u8>, Failure> {
    if form == Form::Json {
        return line(issued);
    }
    let mut text = headline(issued);
    let [own, trusted, list] =
        [&issued.file, &authority.certificate(), &authority.revocations()].map(|f| shell(f));
    let identity = format!("--identity {own} --authority {trusted} --revoked {list}");
    let next = match issued.subject.role {
        CertRole::Slave => format!("dpfw slave --listen 0.0.0.0:10000 {identity}"),
        CertRole::Master => {
            format!("dpfw run tasks.wasm add '[2, 3]' --slave HOST:10000 {identity}")
        }
        CertRole::Observer => format!("dpfw slaves --slave HOST:10000 {identity}"),
    };
    let _ = write!(
        text,
        "\nIt has the peer's key: for that peer alone, with copies of the other two. Next, there:\n  \
         {next}\n"
    );
    Ok(text.into_bytes())
}

/// A certificate was renewed.
pub(super) fn renewed(renewed: &Issued, form: Form) -> Result<Vec<u8>, Failure> {
    match form {
        Form::Json => line(renewed),
        Form::Text => Ok(headline(renewed).into_bytes()),
    }
}

fn line(issued: &Issued) -> Result<Vec<u8>, Failure> {
    let mut value = subject(&issued.subject);
    value["file"] = json!(issued.file);
    value["sans"] = json!(issued.sans);
    json::line(&value)
}

/// What was issued, and by which names the peer may be dialled.
fn headline(issued: &Issued) -> String {
    let Issued { file, subject, sans, .. } = issued;
    let Subject { role, name, validity, .. } = subject;
    let until = validity.until.date();
    let mut text = format!("{}: the {role} {name}, in force until {until}\n", shell(file));
    let dialled = match sans.is_empty() {
        true => "nobody dials it".into(),
        false => format!("may be dialled as {}", list(sans)),
    };
    let _ = writeln!(text, "{dialled}; namespaces: {}", namespaces(subject));
    text
}

/// Certificates were revoked.
pub(super) fn revoked(
    authority: &Authority,
    whom: &str,
    revoked: &Revoked,
    form: Form,
) -> Result<Vec<u8>, Failure> {
    let Revoked { certificates, listed, .. } = revoked;
    if form == Form::Json {
        let serials: Vec<_> = certificates.iter().map(|c| &c.serial).collect();
        let list = authority.revocations();
        return json::line(&json!({ "revoked": serials, "list": list, "listed": listed }));
    }
    let whom = escape::line(whom);
    let many = match certificates.len() {
        0 => format!("{whom}: every certificate had expired, none is revoked\n"),
        1 => format!("{whom}: 1 certificate is revoked\n"),
        many => format!("{whom}: {many} certificates are revoked\n"),
    };
    let list = shell(&authority.revocations());
    Ok(format!(
        "{many}\nNext, copy {list} to every peer: it counts where it is (--revoked FILE).\n"
    )
    .into_bytes())
}

/// All that an authority issued.
pub(super) fn listed(all: &[(Certificate, State)], form: Form) -> Result<Vec<u8>, Failure> {
    if form == Form::Json {
        return lines(all.iter().map(|(certificate, state)| value(certificate, *state)));
    }
    const COLUMNS: [Align; 6] = [Align::Left; 6];
    let head = ["NAME", "ROLE", "STATE", "UNTIL", "NAMESPACES", "SERIAL"].map(String::from);
    let mut rows = vec![head.to_vec()];
    for (certificate, state) in all {
        let (role, namespaces) = match &certificate.subject {
            Ok(subject) => (subject.role.to_string(), namespaces(subject)),
            Err(_) if certificate.is_authority => ("authority".into(), String::new()),
            Err(_) => ("none".into(), String::new()),
        };
        rows.push(vec![
            escape::line(&certificate.name).into_owned(),
            role,
            word(*state).into(),
            certificate.validity.until.date().to_string(),
            namespaces,
            certificate.serial.to_string(),
        ]);
    }
    Ok(table(&COLUMNS, &rows).into_bytes())
}

/// The certificates of a file.
pub(super) fn described(all: &[Certificate], form: Form) -> Result<Vec<u8>, Failure> {
    if form == Form::Json {
        return lines(all.iter().map(|certificate| value(certificate, certificate.state())));
    }
    let each: Vec<_> = all.iter().map(description).collect();
    Ok(each.join("\n").into_bytes())
}

fn description(certificate: &Certificate) -> String {
    let mut text = String::new();
    let mut row = |name: &str, what: &dyn Display| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name:<10}  {}", escape::line(&what.to_string()));
    };
    row("name", &certificate.name);
    match &certificate.subject {
        Ok(subject) => {
            row("role", &subject.role);
            row("namespaces", &namespaces(subject));
        }
        Err(_) if certificate.is_authority => row("role", &"authority"),
        Err(error) => row("no peer's", error),
    }
    if !certificate.sans.is_empty() {
        row("dialled as", &list(&certificate.sans));
    }
    row("in force", &format!("{} ({})", certificate.validity, left(certificate)));
    row("issuer", &certificate.issuer);
    row("serial", &certificate.serial);
    text
}

fn left(certificate: &Certificate) -> String {
    let Validity { from, .. } = certificate.validity;
    match certificate.state() {
        State::Early => format!("not before {}", from.date()),
        State::Expired => "expired".into(),
        _ => {
            let left = certificate.validity.left(SystemTime::now());
            match left.as_secs() / 86_400 {
                0 => "less than a day left".into(),
                1 => "1 day left".into(),
                days => format!("{days} days left"),
            }
        }
    }
}

fn value(certificate: &Certificate, state: State) -> Value {
    let mut value = match &certificate.subject {
        Ok(known) => subject(known),
        Err(_) if certificate.is_authority => json!({ "role": "authority" }),
        Err(error) => json!({ "role": null, "reason": error.to_string() }),
    };
    value["name"] = json!(certificate.name);
    value["sans"] = json!(certificate.sans);
    value["issuer"] = json!(certificate.issuer);
    value["serial"] = json!(certificate.serial);
    value["in_force"] = json!(certificate.validity);
    value["state"] = json!(word(state));
    value
}

fn subject(subject: &Subject) -> Value {
    let Subject { role, name, namespaces, validity, serial, .. } = subject;
    json!({
        "role": role, "name": name, "namespaces": namespaces, "in_force": validity,
        "serial": serial
    })
}

fn word(state: State) -> &'static str {
    match state {
        State::Valid => "in force",
        State::Superseded => "superseded",
        State::Early => "not yet",
        State::Expired => "expired",
        State::Revoked => "revoked",
        _ => "unknown",
    }
}

fn namespaces(subject: &Subject) -> String {
    match subject.namespaces.is_empty() {
        // Its own is called what it is called.
        true => subject.name.to_string(),
        false => list(&subject.namespaces),
    }
}

fn list(all: &[impl ToString]) -> String {
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    escape::line(&all.join(", ")).into_owned()
}

fn lines(values: impl Iterator<Item = Value>) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    for value in values {
        text.extend(json::line(&value)?);
    }
    Ok(text)
}

/// A path as a shell takes it.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let text = escape::line(&text);
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+@,:=%".contains(c));
    match is_plain && !text.is_empty() {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_a_shell_takes_them() {
        assert_eq!(shell(Path::new("/etc/dpfw/slave-1.pem")), "/etc/dpfw/slave-1.pem");
        assert_eq!(shell(Path::new("my certs/$x's")), r"'my certs/$x'\''s'");
        assert_eq!(shell(Path::new("")), "''");
    }
}
