//! What is wrong with a draft, and how it is said: what, where, and what to write instead.

/// One thing that is wrong with a draft.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The key it is about, from the top: `["regions", "eu-west-1", "near"]`; entries of a list by their number.
    pub at: Vec<String>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

/// The faults told so far.
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    pub(super) fn tell(&mut self, at: &[&str], what: String, fix: String) {
        self.0.push(Fault { at: at.iter().map(ToString::to_string).collect(), what, fix });
    }

    /// A name that refers to nothing, with the nearest one that would.
    pub(super) fn no_such(&mut self, at: &[&str], kind: &str, name: &str, known: &[String]) {
        let (what, fix) = no_such(kind, name, known.iter().map(String::as_str));
        self.tell(at, what, fix);
    }
}

/// The two sentences about a name that refers to nothing.
pub(super) fn no_such<'n>(
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) -> (String, String) {
    let what = format!("there is no {kind} {:?}", shortened(name));
    let near = known
        .clone()
        .map(|k| (strsim::damerau_levenshtein(k, name), k))
        .min()
        .filter(|(distance, k)| *distance <= k.len().max(3) / 3);
    let fix = match near {
        Some((_, near)) => format!("did you mean {near:?}?"),
        None => {
            let mut names: Vec<_> = known.take(9).map(|k| format!("{k:?}")).collect();
            if names.len() == 9 {
                names.truncate(8);
                names.push("…".into());
            }
            if names.is_empty() {
                format!("add the {kind} first")
            } else {
                format!("there are {}", names.join(", "))
            }
        }
    };
    (what, fix)
}

/// What was written, cut where it would fill the screen.
pub(super) fn shortened(written: &str) -> String {
    let mut short: String = written.chars().take(80).collect();
    if short.len() < written.len() {
        short.push('…');
    }
    short
}
