//! The commands of a page.

/// A fence of commands.
#[derive(Debug)]
pub(crate) enum Block {
    Here {
        needs: Vec<String>,
        fails: bool,
        steps: Vec<Step>,
    },
    /// Run by files of the repository.
    Elsewhere { by: Vec<String>, steps: Vec<Step> },
}

/// A command and what it prints.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) output: Vec<String>,
}

/// How a command begins: such a line outside a fence of `console` would be run by nobody.
const COMMANDS: [&str; 10] = [
    "$ ",
    "model-control ",
    "cargo ",
    "helm ",
    "docker ",
    "just ",
    "kubectl ",
    "systemctl ",
    "grpcurl ",
    "go ",
];

/// The page's fences of commands, in order.
pub(crate) fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    while let Some((number, line)) = lines.next() {
        let command = line
            .strip_prefix("    ")
            .is_some_and(|line| COMMANDS.iter().any(|word| line.starts_with(word)));
        assert!(
            !command,
            "{page}:{number}: a command outside a fence of `console` is run by nobody"
        );
        let Some(info) = line.strip_prefix("```") else { continue };
        let body: Vec<_> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        let mut words = info.split_whitespace();
        match words.next() {
            Some("console") => blocks.extend(block(page, words, &body)),
            Some("sh" | "bash" | "shell") | None => panic!("{page}:{number}: a fence of `{info}` is run by nobody"),
            Some(_) => {}
        }
    }
    blocks
}

fn block<'a>(page: &str, words: impl Iterator<Item = &'a str>, body: &[(usize, &str)]) -> Option<Block> {
    let (mut needs, mut fails, mut by) = (Vec::new(), false, Vec::new());
    for word in words {
        match (word, word.strip_prefix("by=")) {
            (_, Some(file)) => by.push(file.to_owned()),
            ("shown", _) => return None,
            ("fails", _) => fails = true,
            _ => needs.push(word.to_owned()),
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    for &(line, text) in body {
        if let Some(command) = text.strip_prefix("$ ") {
            steps.push(Step {
                line,
                command: command.to_owned(),
                output: Vec::new(),
            });
            continue;
        }
        let step = steps
            .last_mut()
            .unwrap_or_else(|| panic!("{page}:{line}: output of no command"));
        match text.strip_prefix("> ") {
            Some(more) if step.output.is_empty() => step.command = format!("{}\n{more}", step.command),
            _ => step.output.push(text.to_owned()),
        }
    }
    // Blank lines that part one command from the next are no output.
    for step in &mut steps {
        while step.output.last().is_some_and(|line| line.trim().is_empty()) {
            step.output.pop();
        }
    }
    Some(if by.is_empty() {
        Block::Here { needs, fails, steps }
    } else {
        Block::Elsewhere { by, steps }
    })
}

/// Whether a file says that it runs the command: it does, word for word, or has a line `# shown: COMMAND` where it does so
/// with other names, folders and versions.
pub(crate) fn runs(file: &str, command: &str) -> bool {
    let says = |line: &str| match line.strip_prefix('#') {
        Some(comment) => comment.strip_prefix(" shown: ") == Some(command),
        None => line.contains(command),
    };
    file.lines().any(|line| says(line.trim()))
}
