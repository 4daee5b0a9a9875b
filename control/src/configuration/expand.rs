//! `${NAME}` and `$NAME` over the whole text of a configuration file, before it is parsed, as daprd does
//! (spec/resolution 8.2): an undefined variable is empty. Places in the result are traced back to the file.

/// A file's text with its variables filled in.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    /// What is parsed.
    pub(super) text: String,
    /// Variables that nobody set, with their character offset in the file.
    pub(super) undefined: Vec<(String, usize)>,
    /// Pairs of character offsets (result, file), one where the two begin to differ and one behind every variable.
    marks: Vec<(usize, usize)>,
}

impl Expanded {
    /// The text as it stands, nothing filled in.
    pub(super) fn verbatim(text: &str) -> Expanded {
        Expanded { text: text.to_owned(), ..Expanded::default() }
    }

    /// The character offset in the file of what stands at `offset` in the result.
    pub(super) fn origin(&self, offset: usize) -> usize {
        let before = self.marks.partition_point(|(result, _)| *result <= offset);
        match before.checked_sub(1).and_then(|index| self.marks.get(index).map(|mark| (index, *mark))) {
            None => offset,
            // Inside a variable's value: the variable itself.
            Some((index, (_, file))) if index % 2 == 0 => file,
            Some((_, (result, file))) => file + (offset - result),
        }
    }
}

/// Fills in the variables.
pub(super) fn expand(text: &str, variables: &dyn Fn(&str) -> Option<String>) -> Expanded {
    let mut done = Expanded::default();
    let (mut read, mut written) = (0, 0);
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (plain, from_dollar) = rest.split_at(dollar);
        done.text.push_str(plain);
        read += plain.chars().count();
        written += plain.chars().count();
        let reference = Reference::at(from_dollar);
        let value = reference.value(variables).unwrap_or_else(|| {
            if !in_comment(text, read) {
                done.undefined.push((reference.name.to_owned(), read));
            }
            String::new()
        });
        done.marks.push((written, read));
        done.text.push_str(&value);
        read += reference.length;
        written += value.chars().count();
        done.marks.push((written, read));
        rest = from_dollar.get(reference.length..).unwrap_or_default();
    }
    done.text.push_str(rest);
    done
}

/// A variable's reference at the beginning of a text that starts with `$`.
struct Reference<'a> {
    /// Empty when the dollar stands for itself.
    name: &'a str,
    /// How much of the text it takes; all of it is ASCII.
    length: usize,
}

impl<'a> Reference<'a> {
    fn at(text: &'a str) -> Reference<'a> {
        let after = text.get(1..).unwrap_or_default();
        if let Some(inside) = after.strip_prefix('{') {
            return match inside.find('}') {
                Some(end) if inside.get(..end).is_some_and(is_name) => {
                    Reference { name: inside.get(..end).unwrap_or_default(), length: end + 3 }
                }
                _ => Reference { name: "", length: 1 },
            };
        }
        let end = after.find(|c: char| !is_name_part(c)).unwrap_or(after.len());
        Reference { name: after.get(..end).unwrap_or_default(), length: end + 1 }
    }

    fn value(&self, variables: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        if self.name.is_empty() { Some("$".to_owned()) } else { variables(self.name) }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_name_part)
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether the line up to this character offset begins with a comment sign.
fn in_comment(text: &str, offset: usize) -> bool {
    let before: String = text.chars().take(offset).collect();
    before.rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Expanded {
        expand(text, &|name| match name {
            "A" => Some("long value".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_filled_in_with_and_without_braces() {
        assert_eq!(filled("x: ${A}\ny: $A!").text, "x: long value\ny: long value!");
        assert_eq!(filled("x: '$EMPTY'").text, "x: ''");
    }

    #[test]
    fn an_undefined_variable_is_empty_and_told_with_its_place() {
        let done = filled("a: 1\nb: ${NOBODY}");
        assert_eq!(done.text, "a: 1\nb: ");
        assert_eq!(done.undefined, [("NOBODY".to_owned(), 8)]);
    }

    #[test]
    fn a_comment_may_name_what_nobody_set() {
        assert!(filled("  # costs $NOBODY\n").undefined.is_empty());
    }

    #[test]
    fn a_dollar_that_names_nothing_stays() {
        assert_eq!(filled("a: 5 $ or ${ or ${a-b}").text, "a: 5 $ or ${ or ${a-b}");
        assert_eq!(filled("ends with $").text, "ends with $");
    }

    #[test]
    fn places_are_traced_back_to_the_file() {
        let done = filled("ü ${A} z $A q");
        for letter in ['z', 'q'] {
            let result = done.text.chars().position(|c| c == letter).unwrap();
            let file = "ü ${A} z $A q".chars().position(|c| c == letter).unwrap();
            assert_eq!(done.origin(result), file, "{letter}");
        }
        assert_eq!(done.origin(5), 2, "inside the value");
        assert_eq!(done.origin(0), 0);
    }
}
