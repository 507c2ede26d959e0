//! Which revision of the operators' state a change is based on: the `If-Match` of a request (RFC 9110, 13.1.1), and the
//! `ETag` of what was read before it.
//!
//! A revision is a number that rises with every change of an operator and of the table. It is given by whoever keeps
//! that state; here it is only written and read.
//!
//! Never: takes a tag that this API did not give for one that matches.

use axum::http::{HeaderMap, HeaderValue, header};

/// What a change asks of the revision in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// Any will do: nothing was said, or `*`.
    Any,
    /// It must be this one; else the race is lost.
    Revision(u64),
}

/// Why an `If-Match` cannot be understood, as a sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("If-Match: write one tag, as an ETag of this API gave it: \"REVISION\", in quotes")]
pub struct Unreadable;

impl Basis {
    /// What the request says.
    ///
    /// # Errors
    /// More than one tag, a weak one, or one that this API never gives.
    pub fn of(headers: &HeaderMap) -> Result<Self, Unreadable> {
        let mut written = headers.get_all(header::IF_MATCH).iter();
        let tag = match (written.next(), written.next()) {
            (None, _) => return Ok(Self::Any),
            (Some(tag), None) => tag.to_str().map_err(|_| Unreadable)?.trim(),
            (Some(_), Some(_)) => return Err(Unreadable),
        };
        if tag == "*" {
            return Ok(Self::Any);
        }
        let digits = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(Unreadable)?;
        // In one spelling alone: what is written otherwise is no tag of ours.
        let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        let revision = digits.parse().ok().filter(|number: &u64| plain && number.to_string() == digits);
        revision.map(Self::Revision).ok_or(Unreadable)
    }

    /// Whether a change may be made while this revision is in force.
    #[must_use]
    pub const fn holds_at(self, revision: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Revision(based_on) => based_on == revision,
        }
    }
}

/// The `ETag` of what is so at this revision.
#[must_use]
pub fn tag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(tags: &[&str]) -> Result<Basis, Unreadable> {
        let tags = tags.iter().map(|tag| (header::IF_MATCH, HeaderValue::from_str(tag).unwrap()));
        Basis::of(&tags.fold(HeaderMap::new(), |mut headers, (name, tag)| {
            headers.append(name, tag);
            headers
        }))
    }

    #[test]
    fn a_tag_that_was_given_is_the_revision_that_it_was_given_for() {
        for revision in [0, 1, 41, u64::MAX] {
            let given = tag(revision);
            let based = basis(&[given.to_str().unwrap()]).unwrap();
            assert_eq!(based, Basis::Revision(revision));
            assert!(based.holds_at(revision) && !based.holds_at(revision ^ 1));
        }
        assert_eq!((basis(&[]), basis(&["*"])), (Ok(Basis::Any), Ok(Basis::Any)));
        assert!(Basis::Any.holds_at(7));
    }

    #[test]
    fn any_other_tag_is_refused_and_never_taken_for_none() {
        for tags in [
            &[""][..],
            &["41"],
            &["W/\"41\""],
            &["\"41"],
            &["\"\""],
            &["\"041\""],
            &["\"+41\""],
            &["\"-1\""],
            &["\" 41\""],
            &["\"18446744073709551616\""],
            &["\"41\", \"42\""],
            &["\"41\"", "\"41\""],
            &["*", "\"41\""],
            &["\"*\""],
        ] {
            assert_eq!(basis(tags), Err(Unreadable), "{tags:?}");
        }
    }
}
