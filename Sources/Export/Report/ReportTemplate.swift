// The page's skeleton, in Mustache: {{x}} is escaped, {{{x}}} is HTML that this module made itself.

enum ReportTemplate {
    static let page = """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="{{{policy}}}">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="referrer" content="no-referrer">
        <meta name="generator" content="study {{version}}">
        <title>{{title}}</title>
        <style>{{{css}}}</style>
        </head>
        <body>
        <a class="skip" href="#content">Skip to the text</a>
        <div class="page">
        <header class="top">
        <h1>{{title}}</h1>
        {{#authors}}<p class="authors">{{authors}}</p>{{/authors}}
        <p class="meta"><span class="badge {{statusClass}}">{{status}}</span> {{#claimSummary}}{{{claimSummary}}} {{/claimSummary}}{{summary}}</p>
        {{#abstract}}<p class="abstract">{{abstract}}</p>{{/abstract}}
        <details class="toc"><summary>Contents</summary><nav aria-label="Contents"><ol>
        {{#contents}}<li{{#class}} class="{{class}}"{{/class}}><a href="#{{id}}">{{{name}}}</a></li>
        {{/contents}}</ol></nav></details>
        </header>
        <nav class="side" aria-label="Contents, beside the text"><ol>
        {{#contents}}<li{{#class}} class="{{class}}"{{/class}}><a href="#{{id}}">{{{name}}}</a></li>
        {{/contents}}</ol></nav>
        <main id="content">
        {{#failureTitle}}<div class="note bad"><strong>{{failureTitle}}</strong><pre class="wrap">{{failure}}</pre></div>{{/failureTitle}}
        {{{claims}}}
        {{{body}}}
        {{{metrics}}}
        {{{provenance}}}
        {{{cite}}}
        </main>
        <footer><p>Written by study {{version}} from run {{run}}. The page asks nothing of any network and runs no script.</p></footer>
        </div>
        </body>
        </html>

        """

    static let claims = """
        <section class="upfront"><h2 id="claims">Claims</h2>
        <p class="meta">What the study set out to show, and whether this run bears it out.</p>
        <ul class="claims">{{#claims}}<li class="{{class}}"><span class="words"><strong class="{{class}}">{{verdict}}</strong> {{text}}</span> {{#anchor}}<a class="from" href="#cell-{{anchor}}" aria-label="to the cell {{cell}}">{{cell}}</a>{{/anchor}}{{#evidence}}<span class="why">{{evidence}}</span>{{/evidence}}</li>
        {{/claims}}</ul></section>
        """

    static let cell = """
        <details class="cell" id="cell-{{anchor}}"><summary><span class="name">{{id}}</span> · {{place}}{{#time}} · {{time}}{{/time}}{{#mark}} · <strong class="{{markClass}}">{{mark}}</strong>{{/mark}}</summary>
        <pre tabindex="0" role="region" aria-label="Code of cell {{id}}"><code>{{{code}}}</code></pre></details>
        {{#outputs}}{{#heading}}<p class="label">{{heading}}</p>{{/heading}}<pre class="out{{class}}" tabindex="0" role="region" aria-label="{{label}}">{{text}}</pre>{{#cut}}<p class="note">{{cut}}</p>{{/cut}}
        {{/outputs}}{{{figures}}}{{#hasClaims}}<ul class="claims">{{#claims}}<li class="{{class}}"><span class="words"><strong class="{{class}}">{{verdict}}</strong> {{text}}</span></li>
        {{/claims}}</ul>{{/hasClaims}}
        """

    static let figure = """
        <figure id="figure-{{number}}">{{#source}}<div class="scroll" tabindex="0" role="region" aria-label="Figure {{number}}"><img src="{{{source}}}" alt="{{alt}}" width="560" height="{{height}}"></div>{{/source}}{{^source}}<p class="note">The figure could not be drawn here; its numbers are in the bundle.</p>{{/source}}<figcaption><b>Figure {{number}}.</b> {{title}}{{#words}}<details class="more"><summary>In words</summary>{{words}}</details>{{/words}}</figcaption></figure>

        """

    static let provenance = """
        <section class="panel"><h2 id="provenance">Where this comes from</h2>
        {{#groups}}<h3>{{group}}</h3><dl>{{#facts}}<dt>{{name}}</dt><dd>{{value}}</dd>
        {{/facts}}</dl>
        {{{after}}}{{/groups}}
        {{#hasInputs}}<div class="scroll" tabindex="0" role="region" aria-label="Data read"><table><caption>Data read</caption><thead><tr><th scope="col">file</th><th scope="col">kind</th><th scope="col">licence</th><th scope="col">SHA-256</th></tr></thead><tbody>
        {{#inputs}}<tr><td>{{#hasFiles}}<details><summary>{{path}}: {{count}} files</summary><ul class="files">{{#files}}<li>{{path}}{{#hash}} <code>{{hash}}</code>{{/hash}}</li>{{/files}}</ul></details>{{/hasFiles}}{{^hasFiles}}{{path}}{{/hasFiles}}</td><td>{{kind}}</td><td>{{licence}}</td><td>{{#hash}}<code>{{hash}}</code>{{/hash}}</td></tr>
        {{/inputs}}</tbody></table></div>{{/hasInputs}}
        {{#hasArtifacts}}<div class="scroll" tabindex="0" role="region" aria-label="Made by this run"><table><caption>Made by this run</caption><thead><tr><th scope="col">artifact</th><th scope="col" class="num">size</th><th scope="col">SHA-256</th></tr></thead><tbody>
        {{#artifacts}}<tr><td>{{path}}</td><td class="num">{{size}}</td><td>{{#hash}}<code>{{hash}}</code>{{/hash}}</td></tr>
        {{/artifacts}}</tbody></table></div>{{/hasArtifacts}}
        {{{flow}}}
        <h3 id="replays">Replays</h3>
        {{#hasVerdicts}}<div class="scroll" tabindex="0" role="region" aria-label="Replays"><table><thead><tr><th scope="col">replay</th><th scope="col">verdict</th><th scope="col">what was compared</th></tr></thead><tbody>
        {{#verdicts}}<tr><td>{{replay}}</td><td><strong>{{rung}}</strong></td><td>{{detail}}</td></tr>
        {{/verdicts}}</tbody></table></div>{{/hasVerdicts}}{{^hasVerdicts}}<p>No replay of this run is on record. <code>study replay {{run}}</code> makes one.</p>{{/hasVerdicts}}
        {{#hasAttempts}}<h3 id="attempts">Other runs of this study</h3>
        <p>{{attemptWords}}</p>
        <details class="more"><summary>All of them, newest first</summary><div class="scroll" tabindex="0" role="region" aria-label="Other runs"><table><thead><tr><th scope="col">run</th><th scope="col">ended as</th><th scope="col">began (UTC)</th><th scope="col" class="num">took</th><th scope="col">how</th></tr></thead><tbody>
        {{#attempts}}<tr><td>{{id}}</td><td>{{status}}</td><td>{{began}}</td><td class="num">{{took}}</td><td>{{note}}</td></tr>
        {{/attempts}}</tbody></table></div>{{#attemptsCut}}<p class="note">{{attemptsCut}}</p>{{/attemptsCut}}</details>{{/hasAttempts}}
        <details class="more"><summary>Environment ({{count}} facts)</summary><dl>{{#environment}}<dt>{{name}}</dt><dd>{{value}}</dd>
        {{/environment}}</dl></details></section>
        """

    static let cite = """
        <section><h2 id="cite">How to cite</h2>
        <pre tabindex="0" role="region" aria-label="BibTeX">{{bibtex}}</pre>
        <details class="more"><summary>CITATION.cff</summary><pre tabindex="0" role="region" aria-label="CITATION.cff">{{cff}}</pre></details></section>
        """
}
