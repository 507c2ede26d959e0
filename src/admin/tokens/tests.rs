use super::*;

fn parse(text: &str) -> Result<Tokens, Vec<String>> {
    let told = |problems: Problems| problems.list().iter().map(ToString::to_string).collect();
    Tokens::parse("admin.token".as_ref(), text.as_bytes()).map_err(told)
}

fn line(name: &str, right: &str, token: &str) -> String {
    format!("{name} {right} sha256:{}\n", hex(&hash(token.as_bytes())))
}

fn who(tokens: &Tokens, given: &str) -> Option<(String, Right)> {
    tokens.holder(given.as_bytes()).map(|holder| (holder.name.to_string(), holder.right))
}

#[test]
fn one_word_is_the_token_of_admin_who_may_change_things() {
    for text in ["good", "  good\r\n", "# made by hand\n\ngood\n"] {
        let tokens = parse(text).unwrap();
        assert_eq!(who(&tokens, "good"), Some(("admin".into(), Right::Write)), "{text:?}");
        assert_eq!(who(&tokens, "goo"), None);
    }
}

#[test]
fn each_line_is_the_token_of_somebody_with_a_right() {
    let text = format!("# who\n\n{}{}", line("anna", "write", "a"), line("grafana", "read", "g"));
    let tokens = parse(&text).unwrap();
    assert_eq!(who(&tokens, "a"), Some(("anna".into(), Right::Write)));
    assert_eq!(who(&tokens, "g"), Some(("grafana".into(), Right::Read)));
    for wrong in ["", "b", "A", "a ", &hex(&hash(b"a")), &format!("sha256:{}", hex(&hash(b"a")))] {
        assert_eq!(who(&tokens, wrong), None, "{wrong}");
    }
    assert_eq!(tokens.holders(), "anna (write), grafana (read)");
    assert_eq!(who(&Tokens::default(), ""), None);
}

#[test]
fn every_line_that_is_wrong_is_told_and_nothing_of_it_repeated() {
    let good = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5";
    let text = format!(
        "bare-secret\nanna wriet sha256:{good}\nbert read {good}\ncara read sha256:{}\na;b read sha256:{good}\n\
         dora read sha256:{good} x\nemil read sha256:{good}\nemil write {}\nfred read sha256:{good}\n",
        &good[1..],
        line("", "", "other").trim()
    );
    let told = parse(&text).unwrap_err();
    let name = "a name has 1 to 64 letters, digits, dots, dashes and underscores";
    assert_eq!(
        told,
        [
            format!("line 1: a line holds three words: a name, a right and a hash; {FIX}"),
            format!("line 2: the right of anna is neither read nor write; {FIX}"),
            format!("line 3: the hash of bert is not sha256: and 64 hexadecimal digits; {FIX}"),
            format!("line 4: the hash of cara is not sha256: and 64 hexadecimal digits; {FIX}"),
            format!("line 5: {name}; {FIX}"),
            format!("line 6: a line holds three words: a name, a right and a hash; {FIX}"),
            "line 8: the name \"emil\" stands in line 7 already; give each holder a name of their own".into(),
            "line 9: the token of \"fred\" is that of line 7; make one token for each, so that they can be told apart"
                .into(),
        ]
    );
    assert!(!told.concat().contains("bare-secret") && !told.concat().contains(good), "{told:?}");
}

#[test]
fn what_holds_no_token_or_a_hash_of_nobody_is_refused() {
    for text in ["", " \n", "# nothing yet\n"] {
        assert_eq!(parse(text).unwrap_err(), [format!("no token is in it; {FIX}")], "{text:?}");
    }
    for text in [line("", "", "x").trim(), "gr\u{fc}n", "a\u{0}b"] {
        assert_eq!(parse(text).unwrap_err().len(), 1, "{text:?}");
    }
    assert!(parse("two words").is_err());
    assert!(Tokens::parse("t".as_ref(), &[0xff, 0xfe]).is_err());
}

#[test]
fn a_file_is_read_within_bounds_and_missed_only_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    let file = |named| TokenFile { path: path.clone(), named };
    assert!(Tokens::read(&file(false)).unwrap().is_empty(), "the usual place may be empty");
    assert!(Tokens::read(&file(true)).unwrap_err().to_string().contains("admin.token_file"));
    std::fs::write(&path, "x".repeat(70_000)).unwrap();
    assert!(Tokens::read(&file(false)).unwrap_err().to_string().contains("larger"));
    std::fs::write(&path, "").unwrap();
    assert!(Tokens::read(&file(false)).is_err(), "a file that is there is read, named or not");
    let folder = TokenFile { path: folder.path().into(), named: false };
    assert!(Tokens::read(&folder).unwrap_err().to_string().contains("ordinary"));
}

#[test]
fn a_bad_file_leaves_the_tokens_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    for named in [true, false] {
        std::fs::write(&path, "first").unwrap();
        let store = TokenStore::open(&TokenFile { path: path.clone(), named }).unwrap();
        assert_eq!(store.reload(), Ok(Reread::Unchanged));
        std::fs::write(&path, line("anna", "read", "second")).unwrap();
        assert_eq!(store.reload(), Ok(Reread::Taken));
        for bad in ["", "two words", "anna read sha256:00"] {
            std::fs::write(&path, bad).unwrap();
            assert!(store.reload().is_err(), "{bad:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(store.reload().is_err(), "a file that is gone takes nothing back");
        assert_eq!(who(&store.tokens(), "second"), Some(("anna".into(), Right::Read)));
    }
    let none = TokenStore::open(&TokenFile { path: path.clone(), named: false }).unwrap();
    assert_eq!(none.reload(), Ok(Reread::Unchanged));
    std::fs::write(&path, "late").unwrap();
    assert_eq!((none.reload(), who(&none.tokens(), "late").is_some()), (Ok(Reread::Taken), true));
}

#[test]
fn a_token_that_is_made_is_one_that_the_file_takes() {
    let made = make("anna", Right::Read).unwrap();
    let tokens = parse(&made.line).unwrap();
    assert_eq!(who(&tokens, &made.token), Some(("anna".into(), Right::Read)));
    assert!(!made.line.contains(&made.token[6..]) && made.token.len() == 6 + 64);
    assert_ne!(make("anna", Right::Read).unwrap().token, made.token);
    for name in ["", "a b", "a\nb", "#a", &"a".repeat(65)] {
        assert!(make(name, Right::Write).is_err(), "{name:?}");
    }
}
