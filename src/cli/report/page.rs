//! The page's parts as HTML. Every text that comes from outside passes through [`escape`].

use super::chart;
use ninc_runtime::words::escape;
use std::fmt::Write;

/// Classes up to which the confusion matrix is a table of numbers.
pub const LARGEST_MATRIX: usize = 24;

pub struct Page {
    html: String,
    open: bool,
}

const STYLE: &str = include_str!("style.css");

impl Page {
    pub fn new(title: &str) -> Page {
        let title = escape(title);
        // The policy is a promise that the browser holds: nothing is loaded, nothing runs.
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src \
             'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        );
        Page { html, open: false }
    }

    /// Appends text: writing to a string cannot fail.
    fn add(&mut self, text: std::fmt::Arguments) {
        self.html.write_fmt(text).expect("a string takes everything");
        self.html.push('\n');
    }

    /// Begins a section; `remark` is HTML.
    pub fn section(&mut self, title: &str, remark: &str) {
        self.close();
        self.open = true;
        let remark = if remark.is_empty() { String::new() } else { format!(" <small>{remark}</small>") };
        self.add(format_args!("<section>\n<h2>{}{remark}</h2>", escape(title)));
    }

    fn close(&mut self) {
        if self.open {
            self.html.push_str("</section>\n");
            self.open = false;
        }
    }

    pub fn text(&mut self, text: &str) {
        self.add(format_args!("<p>{}</p>", escape(text)));
    }

    /// Adds large numbers with what they are.
    pub fn figures(&mut self, figures: &[(String, String)]) {
        self.html.push_str("<div class=\"figures\">");
        for (number, what) in figures {
            self.add(format_args!("<div><b>{}</b><span>{}</span></div>", escape(number), escape(what)));
        }
        self.html.push_str("</div>\n");
    }

    /// Adds SVG pictures, side by side where there is room.
    pub fn charts(&mut self, charts: &[String]) {
        self.html.push_str("<div class=\"charts\">");
        charts.iter().filter(|c| !c.is_empty()).for_each(|chart| self.html.push_str(chart));
        self.html.push_str("</div>\n");
    }

    /// Adds a table. The first row is the heading; an empty one is left out.
    pub fn table(&mut self, rows: &[Vec<String>], class: &str) {
        self.add(format_args!("<div class=\"wide\"><table class=\"{class}\">"));
        for (i, row) in rows.iter().enumerate() {
            if row.iter().all(String::is_empty) {
                continue;
            }
            let tag = if i == 0 { "th" } else { "td" };
            self.html.push_str("<tr>");
            row.iter().for_each(|cell| self.html.push_str(&format!("<{tag}>{}</{tag}>", escape(cell))));
            self.html.push_str("</tr>\n");
        }
        self.html.push_str("</table></div>\n");
    }

    /// Adds a table whose rows, but for the heading, begin with a line in a look of the charts.
    pub fn keys(&mut self, rows: &[Vec<String>], looks: &[Option<usize>]) {
        self.add(format_args!("<div class=\"wide\"><table class=\"classes\">"));
        let none = [None];
        for (i, (row, look)) in rows.iter().zip(none.iter().chain(looks)).enumerate() {
            let tag = if i == 0 { "th" } else { "td" };
            let line = look.map(chart::sample).unwrap_or_default();
            let cells = row.iter().enumerate().map(|(column, cell)| {
                format!("<{tag}>{}{}</{tag}>", if column == 0 { line.as_str() } else { "" }, escape(cell))
            });
            let cells: String = cells.collect();
            self.add(format_args!("<tr>{cells}</tr>"));
        }
        self.html.push_str("</table></div>\n");
    }

    /// Adds a bar for each class: name, how many were right, and how many there are.
    pub fn bars<'a>(&mut self, bars: impl Iterator<Item = (&'a str, u32, u32)> + Clone) {
        let longest = bars.clone().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        self.add(format_args!("<div class=\"bars\" style=\"--name:{}ch\">", longest.clamp(2, 18)));
        for (name, right, all) in bars {
            let part = 100.0 * f64::from(right) / f64::from(all.max(1));
            self.add(format_args!(
                "<div><span>{}</span><i><u style=\"width:{part:.1}%\"></u></i><em>{part:.1} % of {all}</em></div>",
                escape(name)
            ));
        }
        self.html.push_str("</div>\n");
    }

    /// Adds a matrix `counts[label][answer]`, the right ones blue, the wrong ones orange, by their part of the row.
    pub fn matrix(&mut self, names: &[String], counts: &[Vec<u32>]) {
        self.html.push_str("<div class=\"wide\"><table class=\"matrix\"><tr><td></td>");
        names.iter().for_each(|name| self.html.push_str(&format!("<th><span>{}</span></th>", escape(name))));
        self.html.push_str("</tr>\n");
        for (label, row) in counts.iter().enumerate() {
            self.html.push_str(&format!("<tr><th>{}</th>", escape(&names[label])));
            let all = f64::from(row.iter().sum::<u32>().max(1));
            for (answer, &count) in row.iter().enumerate() {
                let (kind, part) = (if answer == label { "yes" } else { "no" }, f64::from(count) / all);
                // The square root makes single mistakes visible.
                let shade = if count == 0 { 0.0 } else { part.sqrt().max(0.12) };
                let text = if count == 0 { String::new() } else { count.to_string() };
                self.html.push_str(&format!("<td class=\"{kind}\" style=\"--part:{:.0}%\">{text}</td>", shade * 100.0));
            }
            self.html.push_str("</tr>\n");
        }
        self.html.push_str("</table></div>\n");
    }

    /// Adds a picture of `width` pixels, shown larger without smoothing.
    pub fn picture(&mut self, url: &str, alt: &str, width: usize, class: &str) {
        let shown = (width * 8).clamp(320, 720);
        self.add(format_args!(
            "<img class=\"{class}\" style=\"width:{shown}px\" src=\"{}\" alt=\"{}\">",
            escape(url),
            escape(alt)
        ));
    }

    pub fn gallery(&mut self, pictures: &[(String, String)]) {
        self.html.push_str("<div class=\"gallery\">");
        for (url, text) in pictures {
            let (url, text) = (escape(url), escape(text));
            self.add(format_args!(
                "<figure><img src=\"{url}\" alt=\"{text}\"><figcaption>{text}</figcaption></figure>"
            ));
        }
        self.html.push_str("</div>\n");
    }

    /// Adds wide pictures, each with a text.
    pub fn sheets(&mut self, pictures: &[(String, String)]) {
        self.html.push_str("<div class=\"sheets\">");
        for (url, text) in pictures {
            let (url, text) = (escape(url), escape(text));
            self.add(format_args!(
                "<figure class=\"sheet\"><img src=\"{url}\" alt=\"{text}\"><figcaption>{text}</figcaption></figure>"
            ));
        }
        self.html.push_str("</div>\n");
    }

    pub fn details(&mut self, summary: &str, text: &str) {
        self.add(format_args!("<details><summary>{}</summary><pre>{}</pre></details>", escape(summary), escape(text)));
    }

    pub fn finish(mut self) -> String {
        self.close();
        self.html + "</main>\n</body>\n</html>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let evil = "<script>alert('x')</script>\"\0";
        let mut page = Page::new(evil);
        page.section(evil, "");
        page.table(&[vec![evil.into()], vec![evil.into()]], "facts");
        page.bars([(evil, 1, 2)].into_iter());
        page.matrix(&[evil.into()], &[vec![3]]);
        page.gallery(&[("data:,".into(), evil.into())]);
        page.details(evil, evil);
        page.figures(&[(evil.into(), evil.into())]);
        let html = page.finish();
        assert!(!html.contains("<script") && !html.contains('\0') && html.contains("&lt;script&gt;"));
    }
}
