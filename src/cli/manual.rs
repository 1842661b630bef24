//! The command line as other programs read it: completion scripts for shells, and manual pages.

use std::{io, path::Path};

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

const NAME: &str = "strongroom";

/// The script that has `shell` complete the command line.
pub fn completion(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    script
}

/// Writes the manual into `directory`, a page for each command.
///
/// # Errors
/// If a page cannot be written.
pub fn write(directory: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Cli::command().name(NAME), directory)
}

#[cfg(test)]
mod tests {
    use clap::{Command, Parser};

    use super::*;

    fn leaves(command: &Command, found: &mut Vec<Command>) {
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            match sub.has_subcommands() {
                true => leaves(sub, found),
                false => found.push(sub.clone()),
            }
        }
    }

    #[test]
    fn every_verb_says_what_it_does_in_one_sentence_and_has_an_example_that_can_be_given() {
        let mut all = Vec::new();
        leaves(&Cli::command(), &mut all);
        assert!(all.len() >= 20, "{}", all.len());
        for verb in all {
            let about = verb.get_about().unwrap_or_else(|| panic!("{}", verb.get_name())).to_string();
            assert!(about.len() > 20 && !about.contains(". ") && !about.ends_with('.'), "{about}");
            let help = verb.get_after_help().unwrap_or_else(|| panic!("{}", verb.get_name())).to_string();
            let example = help.strip_prefix("Example:\n  ").expect(&help);
            let given = &example[example.find(NAME).expect("an example")..];
            assert!(given.contains(verb.get_name()), "{example}");
            Cli::try_parse_from(given.split(' ')).map(drop).expect(example);
        }
    }

    #[test]
    fn shells_complete_every_verb_and_the_manual_has_a_page_of_each() {
        let script = String::from_utf8(completion(Shell::Bash)).expect("text");
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path()).expect("written");
        for (verb, page) in [("detach-policy", "strongroom-principal-detach-policy.1"), ("serve", "strongroom-serve.1")]
        {
            assert!(script.contains(verb), "{verb}");
            let page = std::fs::read_to_string(directory.path().join(page)).expect(page);
            assert!(page.contains("Example:"), "{page}");
        }
    }
}
