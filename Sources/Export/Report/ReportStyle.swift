// How a report looks: light and dark by the reader's own setting, on paper too. Contrast is at least
// 4.5 to 1 for text (WCAG AA); the colours of lines are Okabe and Ito's, which colour-blind eyes tell apart.

enum ReportStyle {
    static let css = """
        :root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--card:#f6f8fa;--line:#d0d7de;--link:#0550ae;
        --good:#116329;--bad:#a40e26;--goodbg:#dafbe1;--badbg:#ffebe9;--value:#0b4f6c;--k:#8b2252;--s:#0a5a3c;--n:#0550ae;--t:#5b3a9e;--c:#5f6b76;
        --l0:#0072b2;--l1:#b34700;--l2:#00705a;--l3:#8f4572;--l4:#6b5900;--l5:#1f6f9f}
        @media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9ea7b3;--paper:#0d1117;--card:#161b22;--line:#3d444d;--link:#79b8ff;
        --good:#56d364;--bad:#ff8f87;--goodbg:#12261e;--badbg:#2d1619;--value:#8ed1fc;--k:#ff9bce;--s:#7ee2a8;--n:#79b8ff;--t:#d2a8ff;--c:#9ea7b3;
        --l0:#56b4e9;--l1:#ff9d4d;--l2:#3fd0a8;--l3:#e29cc5;--l4:#e0c94a;--l5:#9cc9ec}}
        *{box-sizing:border-box}html{-webkit-text-size-adjust:100%;scroll-behavior:auto}
        body{margin:0;background:var(--paper);color:var(--ink);font:17px/1.6 Georgia,'Times New Roman',serif;overflow-wrap:break-word}
        main,header.top,footer{max-width:46rem;margin:0 auto;padding:0 1.25rem}
        header.top{padding-top:2.5rem}h1{font-size:2rem;line-height:1.2;margin:0 0 .4rem}h2{font-size:1.4rem;margin:2.4rem 0 .6rem;line-height:1.3}
        h3{font-size:1.12rem;margin:1.8rem 0 .4rem}a{color:var(--link)}p{margin:.8rem 0}
        .sans,header.top .meta,nav,summary,table,figcaption,.panel,.note,.badge,.charttitle,.legend{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
        .meta{color:var(--soft);font-size:.9rem;margin:.2rem 0}.badge{display:inline-block;font-size:.82rem;font-weight:600;padding:.1rem .6rem;border-radius:1rem;border:1px solid currentColor}
        .good{color:var(--good)}.bad{color:var(--bad)}.badge.good{background:var(--goodbg)}.badge.bad{background:var(--badbg)}
        nav{font-size:.9rem;border-block:1px solid var(--line);margin:1.2rem 0 0;padding:.55rem 0;display:flex;flex-wrap:wrap;gap:.3rem 1.2rem}
        code,pre{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.84em}
        pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;overflow-x:auto;line-height:1.5;margin:.5rem 0;white-space:pre;tab-size:4}
        pre code{font-size:1em}:not(pre)>code{background:var(--card);border-radius:4px;padding:.08em .3em}pre.out{max-height:26rem;overflow-y:auto}
        pre.err{border-left:4px solid var(--bad)}details.cell{margin:.9rem 0 .3rem}details.cell>summary,details.more>summary{cursor:pointer;color:var(--soft);font-size:.88rem;padding:.15rem 0}
        details.cell>summary .name{color:var(--ink);font-weight:600}summary:focus-visible,a:focus-visible{outline:2px solid var(--link);outline-offset:2px}
        .k{color:var(--k)}.s{color:var(--s)}.n{color:var(--n)}.t{color:var(--t)}.c{color:var(--c);font-style:italic}
        .value{color:var(--value);font-weight:600;font-variant-numeric:tabular-nums;border-bottom:1px dotted}.missing{color:var(--bad)}
        .scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;line-height:1.4;margin:.8rem 0;font-variant-numeric:tabular-nums}
        th,td{text-align:left;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}thead th{color:var(--soft);font-weight:600;white-space:nowrap}
        td.num,th.num{text-align:right;white-space:nowrap}caption{text-align:left;color:var(--soft);padding-bottom:.3rem}
        figure{margin:1.2rem 0}figure img{display:block;width:100%;height:auto;background:#fff;border:1px solid var(--line);border-radius:6px}
        figcaption{font-size:.88rem;color:var(--soft);margin-top:.4rem}.chart{display:block;width:100%;height:auto;overflow:visible}
        .chart text{fill:var(--soft);font:12px system-ui,'DejaVu Sans',sans-serif}.chart .grid{stroke:var(--line);stroke-width:1}.chart path{fill:none;stroke-width:1.6;stroke-linejoin:round}
        .chart .l0{stroke:var(--l0)}.chart .l1{stroke:var(--l1)}.chart .l2{stroke:var(--l2)}.chart .l3{stroke:var(--l3)}.chart .l4{stroke:var(--l4)}.chart .l5{stroke:var(--l5)}
        .chart circle{stroke-width:3;fill:none}.charttitle{font-weight:600;font-size:.95rem;margin:1.4rem 0 .3rem}.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:.85rem;list-style:none;padding:0;margin:.3rem 0}
        .legend li::before{content:"";display:inline-block;width:1.4em;height:0;border-top:3px solid;margin-right:.45em;vertical-align:.25em}
        .legend .l0::before{border-color:var(--l0)}.legend .l1::before{border-color:var(--l1)}.legend .l2::before{border-color:var(--l2)}.legend .l3::before{border-color:var(--l3)}.legend .l4::before{border-color:var(--l4)}.legend .l5::before{border-color:var(--l5)}
        .claims{list-style:none;padding:0}.claims li{padding:.5rem .8rem;border-left:4px solid;margin:.5rem 0;background:var(--card);border-radius:0 6px 6px 0}
        .claims .words{color:var(--ink)}.claims .why{display:block;color:var(--soft);font-size:.88rem}.note{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;font-size:.9rem}
        .note.bad{background:var(--badbg);border-color:currentColor}.note.bad *{color:inherit}.panel h2,.panel h3{font-family:Georgia,'Times New Roman',serif}.panel p{font-family:Georgia,serif}.panel dl{display:grid;grid-template-columns:minmax(7rem,auto) 1fr;gap:.25rem 1rem;font-size:.88rem;margin:.6rem 0}
        .panel dt{color:var(--soft)}.panel dd{margin:0;overflow-wrap:anywhere}blockquote{margin:1rem 0;padding:0 1rem;border-left:4px solid var(--line);color:var(--soft)}img{max-width:100%}
        math{font-size:1.05em}math[display=block]{margin:.8rem 0;overflow-x:auto}.katex{white-space:nowrap}.flow{max-width:100%;height:auto}.flow rect{fill:var(--card);stroke:var(--soft)}.flow text{fill:var(--ink);font:12px system-ui,'DejaVu Sans',sans-serif}.flow path{fill:none;stroke:var(--soft)}
        footer{color:var(--soft);font-size:.85rem;padding-block:2.5rem;font-family:system-ui,'DejaVu Sans',sans-serif}.skip{position:absolute;left:-999px}.skip:focus{left:1rem;top:1rem;background:var(--paper);padding:.5rem}
        @media (max-width:34rem){.chart text{font-size:20px}.chart path{stroke-width:2.5}body{font-size:16px}h1{font-size:1.6rem}.panel dl{grid-template-columns:1fr;gap:0}.panel dd{margin-bottom:.5rem}th,td{padding-right:.6rem}}
        @media print{:root{--ink:#000;--soft:#444;--paper:#fff;--card:#fff;--line:#bbb;--link:#000;--value:#000}body{font-size:10.5pt}nav,.skip{display:none}
        pre{white-space:pre-wrap;max-height:none!important}figure,tr,.claims li,.chart{break-inside:avoid}h2,h3,.charttitle{break-after:avoid}a{text-decoration:none}}
        """
}
