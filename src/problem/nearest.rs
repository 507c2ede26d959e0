//! The name that was probably meant, so that a message can say `did you mean "eu-west-1"?`.

use strsim::osa_distance;

/// The candidate nearest to `wrong`, if any is near enough to be a slip of the fingers.
///
/// Near enough is one edit, or a third of the length for longer names; a change of case alone always is.
/// Of equally near ones the first wins.
pub fn did_you_mean<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > LONGEST {
        return None;
    }
    let folded = wrong.to_lowercase();
    let allowed = (wrong.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (osa_distance(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The remedy as words: `did you mean "x"?`, or else the list of what exists, in so far as it is short.
///
/// `nouns` names the candidates in the plural, as in `the regions are "a", "b"`.
pub fn remedy<'a>(
    wrong: &str,
    nouns: &str,
    candidates: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> String {
    let candidates = candidates.into_iter();
    if let Some(near) = did_you_mean(wrong, candidates.clone()) {
        return format!("did you mean \"{near}\"?");
    }
    let shown: Vec<String> = candidates.clone().take(LISTED).map(|name| format!("\"{name}\"")).collect();
    match shown.len() {
        0 => format!("there are no {nouns}"),
        _ if candidates.count() > LISTED => format!("the {nouns} are {}, …", shown.join(", ")),
        _ => format!("the {nouns} are {}", shown.join(", ")),
    }
}

/// A longer text than this is no misspelt name, and comparing it would only cost time.
const LONGEST: usize = 128;

/// So many names help; more are noise.
const LISTED: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised() {
        let regions = ["eu-central-1", "eu-west-1", "us-east-1"];
        assert_eq!(did_you_mean("eu-wset-1", regions), Some("eu-west-1"));
        assert_eq!(did_you_mean("EU-WEST-1", regions), Some("eu-west-1"));
        assert_eq!(did_you_mean("wieght", ["role", "weight"]), Some("weight"));
    }

    #[test]
    fn what_is_merely_different_is_not() {
        assert_eq!(did_you_mean("sa-east-9", ["eu-west-1"]), None);
        assert_eq!(did_you_mean("a", ["b"]), None);
        assert_eq!(did_you_mean("", ["by"]), None);
        assert_eq!(did_you_mean(&"x".repeat(1_000_000), ["x"]), None);
    }

    #[test]
    fn without_a_near_name_the_remedy_lists_what_exists() {
        assert_eq!(remedy("x", "regions", ["eu", "us"]), r#"the regions are "eu", "us""#);
        assert_eq!(remedy("ue", "regions", ["eu", "us"]), r#"did you mean "eu"?"#);
        assert_eq!(remedy("x", "regions", []), "there are no regions");
        let many: Vec<String> = (10..40).map(|n| format!("region-{n}")).collect();
        assert!(remedy("x", "regions", many.iter().map(String::as_str)).ends_with("\"region-21\", …"));
    }
}
