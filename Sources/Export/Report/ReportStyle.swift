// How a report looks: light and dark by the reader's own setting, on paper too. A test computes the
// contrast of every pair below (4.5 to 1 for text, 3 to 1 for lines: WCAG 2.2 AA); the colours of lines
// follow Okabe and Ito's, which colour-blind eyes tell apart.

enum ReportStyle {
    static let css = """
        :root{color-scheme:light dark;
        --ink:#1c2128;--soft:#57606a;--paper:#ffffff;--card:#f6f8fa;--line:#d5dbe1;--link:#0550ae;
        --good:#116329;--bad:#a40e26;--goodbg:#e3f6e6;--badbg:#ffebe9;--value:#0b4f6c;
        --k:#8b2252;--s:#0a5a3c;--n:#0550ae;--t:#5b3a9e;--c:#5a6570;
        --l0:#0072b2;--l1:#b34700;--l2:#00705a;--l3:#8f4572;--l4:#6b5900;--l5:#4a4fa3;--l6:#767f88}
        @media screen and (prefers-color-scheme:dark){:root{
        --ink:#e6edf3;--soft:#9ea7b3;--paper:#0d1117;--card:#161b22;--line:#353c45;--link:#79b8ff;
        --good:#56d364;--bad:#ff8f87;--goodbg:#12261e;--badbg:#2d1619;--value:#8ed1fc;
        --k:#ff9bce;--s:#7ee2a8;--n:#79b8ff;--t:#d2a8ff;--c:#9ea7b3;
        --l0:#56b4e9;--l1:#ff9d4d;--l2:#3fd0a8;--l3:#e29cc5;--l4:#e0c94a;--l5:#a9b4ff;--l6:#7d8590}}
        *{box-sizing:border-box}
        html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
        body{margin:0;background:var(--paper);color:var(--ink);font:17px/1.6 Charter,'Bitstream Charter','Iowan Old Style',Georgia,'Times New Roman',serif;overflow-wrap:break-word}
        h1,h2,h3,h4,.meta,.authors,nav,summary,table,caption,figcaption,.panel dl,.note,.badge,.legend,.why,.from,footer,.label{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans','DejaVu Sans',sans-serif}
        .page{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,46rem) minmax(0,1fr);padding:0 1.25rem}
        header.top,main,footer{grid-column:2;min-width:0}
        header.top{padding-top:2.75rem;border-bottom:1px solid var(--line);padding-bottom:1.1rem}
        h1{font-size:2.05rem;line-height:1.2;margin:0 0 .5rem;letter-spacing:-.015em;text-wrap:balance}
        h2{font-size:1.38rem;margin:2.6rem 0 .6rem;line-height:1.3;letter-spacing:-.01em}
        h3{font-size:1.1rem;margin:1.9rem 0 .4rem;line-height:1.35}
        h4{font-size:1rem;margin:1.5rem 0 .3rem}
        h2[id],h3[id],details[id],figure[id],li[id]{scroll-margin-top:1rem}
        a{color:var(--link);text-underline-offset:.15em}
        p{margin:.8rem 0}
        .authors{font-size:1rem;margin:.1rem 0 .5rem}
        .meta{color:var(--soft);font-size:.88rem;margin:.25rem 0}
        .abstract{margin:1rem 0 0;font-size:1.02rem}
        .badge{display:inline-block;font-size:.8rem;font-weight:600;padding:.08rem .6rem;border-radius:1rem;border:1px solid currentColor;margin-right:.3rem}
        .good{color:var(--good)}.bad{color:var(--bad)}.badge.good{background:var(--goodbg)}.badge.bad{background:var(--badbg)}
        nav.side{display:none}
        nav ol{list-style:none;margin:0;padding:0}
        nav li{margin:0}nav li.sub{padding-left:1rem}
        nav a{display:block;padding:.16rem 0;text-decoration:none;color:var(--soft)}nav a:hover{color:var(--link);text-decoration:underline}
        nav .part{margin-top:.7rem;padding-top:.7rem;border-top:1px solid var(--line)}
        details.toc{margin:1.1rem 0 0;border:1px solid var(--line);border-radius:6px;padding:.35rem .9rem}
        details.toc nav{font-size:.92rem;padding:.4rem 0 .5rem}details.toc nav a{color:var(--link)}
        @media (min-width:44rem){details.toc nav ol{columns:2;column-gap:2rem}details.toc nav .part{margin:0;padding:0;border:0}}
        code,pre{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.82em}
        pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;overflow-x:auto;line-height:1.5;margin:.5rem 0;white-space:pre;tab-size:4}
        pre code{font-size:1em}:not(pre)>code{background:var(--card);border-radius:4px;padding:.08em .18em;overflow-wrap:anywhere}td>code:only-child{white-space:nowrap}
        pre.out{max-height:26rem;overflow:auto;background:transparent;border-left:3px solid var(--line);border-radius:0;border-width:0 0 0 3px;padding:.2rem .9rem}
        pre.wrap{white-space:pre-wrap;overflow-wrap:anywhere}
        pre.err{border-left-color:var(--l1)}pre.err.bad{border-left-color:var(--bad);color:inherit}
        .label{color:var(--soft);font-size:.8rem;margin:.5rem 0 0}
        details.cell{margin:1rem 0 .4rem;border:1px solid var(--line);border-radius:6px;background:var(--card)}
        details.cell>summary{padding:.3rem .8rem}
        details.cell>pre{border:0;border-top:1px solid var(--line);border-radius:0 0 6px 6px;margin:0;background:transparent}
        summary{cursor:pointer;color:var(--soft);font-size:.88rem;padding:.15rem 0}
        details.cell>summary .name,details.metric>summary .name{color:var(--ink);font-weight:600}
        summary:focus-visible,a:focus-visible,[tabindex]:focus-visible{outline:2px solid var(--link);outline-offset:2px}
        .k{color:var(--k)}.s{color:var(--s)}.n{color:var(--n)}.t{color:var(--t)}.c{color:var(--c);font-style:italic}
        .value{color:var(--value);font-variant-numeric:tabular-nums;text-decoration:underline var(--line);text-decoration-thickness:1px;text-underline-offset:.25em}.missing{color:var(--bad)}
        .scroll{overflow-x:auto}
        table{border-collapse:collapse;font-size:.87rem;line-height:1.4;margin:.8rem 0;font-variant-numeric:tabular-nums}
        th,td{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
        th:last-child,td:last-child{padding-right:0}
        thead th{color:var(--soft);font-weight:600;white-space:nowrap;border-bottom:2px solid var(--line);vertical-align:bottom}
        tbody th{font-weight:400}
        td.num,th.num{text-align:right;white-space:nowrap}td.plot{padding-top:.15rem;padding-bottom:.15rem}
        caption{text-align:left;color:var(--soft);padding-bottom:.3rem}
        .metric table{width:100%}details.metric{border-bottom:1px solid var(--line);padding:.2rem 0}details.metric>summary{display:flex;gap:.3rem .9rem;flex-wrap:wrap;align-items:baseline}
        details.metric>summary .name::before{content:"\\25B8\\A0";font-size:.8em;font-weight:400;color:var(--soft)}details.metric[open]>summary .name::before{content:"\\25BE\\A0"}details.metric>summary::-webkit-details-marker{display:none}
        .interval{display:block;width:200px;height:18px}.interval line{stroke:var(--l0);stroke-width:2}.interval circle{fill:var(--l0)}.interval .grid{stroke:var(--line);stroke-width:1}
        figure{margin:1.4rem 0}
        figure img{display:block;width:100%;max-width:37rem;height:auto}
        .files{list-style:none;margin:.2rem 0 .3rem;padding:0;color:var(--soft)}.files code{white-space:nowrap}td summary{color:inherit;font-size:inherit}
        figcaption{font-size:.88rem;color:var(--soft);margin-top:.4rem}figcaption b{color:var(--ink);font-weight:600}
        .chart{display:block;width:100%;height:auto;overflow:visible;margin-top:.4rem}
        .chart text{fill:var(--soft);font:13px system-ui,'Liberation Sans','DejaVu Sans',sans-serif}.chart .grid{stroke:var(--line);stroke-width:1}
        .chart path{fill:none;stroke-width:1.7;stroke-linejoin:round}.chart circle{stroke-width:1.7}
        .chart .l0{stroke:var(--l0)}.chart .l1{stroke:var(--l1)}.chart .l2{stroke:var(--l2)}.chart .l3{stroke:var(--l3)}.chart .l4{stroke:var(--l4)}.chart .l5{stroke:var(--l5)}
        .chart .l6{stroke:var(--l6);stroke-width:1;stroke-opacity:.75}.chart .dash{stroke-dasharray:6 3}.chart circle{fill:var(--paper)}
        .legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;font-size:.84rem;list-style:none;padding:0;margin:.4rem 0}
        .legend li::before{content:"";display:inline-block;width:1.5em;height:0;border-top:3px solid;margin-right:.45em;vertical-align:.25em}.legend .dash::before{border-top-style:dashed}
        .legend .l0::before{border-color:var(--l0)}.legend .l1::before{border-color:var(--l1)}.legend .l2::before{border-color:var(--l2)}.legend .l3::before{border-color:var(--l3)}.legend .l4::before{border-color:var(--l4)}.legend .l5::before{border-color:var(--l5)}.legend .l6::before{border-color:var(--l6)}
        .claims{list-style:none;padding:0;margin:.8rem 0}
        .claims li{padding:.15rem 0 .15rem .8rem;border-left:3px solid;margin:.45rem 0}
        .claims .words{color:var(--ink)}.claims .words strong{font-weight:600}
        .claims .why{display:block;color:var(--soft);font-size:.85rem;line-height:1.45}.claims .from{font-size:.85rem;white-space:nowrap}
        .upfront{border-bottom:1px solid var(--line);padding-bottom:.8rem;margin-bottom:1.6rem}.upfront h2{margin-top:1.6rem}
        .note{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;font-size:.9rem}
        .note.bad{background:var(--badbg);border-color:currentColor}.note.bad *{color:inherit}.note pre{background:transparent;border:0;padding:.3rem 0;margin:0}
        .panel dl{display:grid;grid-template-columns:minmax(8rem,auto) 1fr;gap:.25rem 1.2rem;font-size:.88rem;margin:.6rem 0}
        .panel dt{color:var(--soft)}.panel dd{margin:0;overflow-wrap:anywhere}
        .diff .del{color:var(--bad)}.diff .ins{color:var(--good)}
        blockquote{margin:1rem 0;padding:0 1rem;border-left:4px solid var(--line);color:var(--soft)}
        img{max-width:100%}
        math{font-size:1.08em;font-family:'STIX Two Math','Cambria Math','Latin Modern Math','Libertinus Math',math,serif}math[display=block]{margin:.4rem 0;padding:.6em 0;overflow-x:auto}.katex{white-space:nowrap}
        .flow{display:block;width:100%;min-width:38rem;height:auto}.flow rect{fill:var(--card);stroke:var(--soft)}.flow text{fill:var(--ink);font:13px system-ui,'Liberation Sans','DejaVu Sans',sans-serif}.flow .takes{fill:var(--soft);font-size:12px}.flow path{fill:none;stroke:var(--soft)}.flow .failed{stroke:var(--bad)}
        footer{color:var(--soft);font-size:.85rem;padding-block:2.5rem}
        .skip{position:absolute;left:-999px}.skip:focus{left:1rem;top:1rem;background:var(--paper);padding:.5rem;z-index:1}
        @media screen and (min-width:80rem){
        .page{grid-template-columns:minmax(15rem,1fr) minmax(0,46rem) minmax(3rem,1fr);column-gap:3.5rem}
        nav.side{display:block;grid-column:1;grid-row:1/4;justify-self:end;width:15rem;font-size:.86rem;line-height:1.4;position:sticky;top:0;align-self:start;max-height:100vh;overflow-y:auto;padding:3rem 0 2rem}
        details.toc{display:none}}
        @media (max-width:34rem){body{font-size:16px}.chart text{font-size:22px}.chart path{stroke-width:2.5}h1{font-size:1.6rem}figure>.scroll{margin-inline:-1.25rem}figure img{min-width:26rem}header.top{padding-top:1.5rem}.panel dl{grid-template-columns:1fr;gap:0}.panel dd{margin-bottom:.5rem}th,td{padding-right:.7rem}tbody th,td:first-child{min-width:7rem}}
        @page{margin:18mm 17mm 20mm;@bottom-center{content:counter(page) " / " counter(pages);font:9pt system-ui,sans-serif;color:#444}}
        @media print{:root{--ink:#000;--soft:#444;--paper:#fff;--card:#fff;--line:#bbb;--link:#000;--value:#000}
        body{font-size:10.5pt;line-height:1.45}.page{display:block;padding:0}nav.side,details.toc,.skip,figcaption details{display:none}header.top{padding-top:0}
        pre{white-space:pre-wrap;overflow-wrap:anywhere;max-height:none!important}.scroll{overflow:visible}.flow{min-width:0}figure img{max-width:26rem}.chart{max-width:34rem}
        figure,tr,.claims li{break-inside:avoid}h2,h3,h4,thead{break-after:avoid}p{orphans:3;widows:3}a{text-decoration:none}.value{text-decoration:none}
        details.cell{break-inside:avoid}.label{break-after:avoid}figure{margin:1rem 0}}
        """
}
