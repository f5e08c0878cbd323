#[test]
fn tmp() {
    let mut v: Vec<_> = std::fs::read_dir("tests/golden").unwrap().map(|e| e.unwrap().path()).collect();
    v.sort();
    for p in v {
        let s = std::fs::read_to_string(&p).unwrap();
        let (m, d) = ninc::front::load(&s, "g", &[]);
        if m.is_none() { println!("{}: {:#?}", p.display(), d.iter().map(|d| (&d.message, &d.help, &s[d.span.range()])).collect::<Vec<_>>()); }
    }
}
