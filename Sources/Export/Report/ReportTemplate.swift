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
        <header class="top">
        <h1>{{title}}</h1>
        {{#authors}}<p class="meta">{{authors}}</p>{{/authors}}
        <p class="meta"><span class="badge {{statusClass}}">{{status}}</span> {{summary}}</p>
        {{#claimSummary}}<p class="meta">{{{claimSummary}}}</p>{{/claimSummary}}
        <nav aria-label="Parts of this page">{{#parts}}<a href="#{{id}}">{{name}}</a>{{/parts}}</nav>
        </header>
        <main id="content">
        {{#failure}}<div class="note bad"><strong>{{failureTitle}}</strong><br>{{failure}}</div>{{/failure}}
        {{#abstract}}<p><em>{{abstract}}</em></p>{{/abstract}}
        {{{body}}}
        {{{claims}}}
        {{{metrics}}}
        {{{provenance}}}
        {{{cite}}}
        </main>
        <footer><p>Written by study {{version}} from run {{run}}. The page asks nothing of any network and runs no script.</p></footer>
        </body>
        </html>

        """

    static let claims = """
        <section><h2 id="claims">Claims</h2>
        <ul class="claims">{{#claims}}<li class="{{class}}"><span class="words"><strong class="{{class}}">{{verdict}}</strong> {{text}}</span>{{#evidence}}<span class="why">{{evidence}}</span>{{/evidence}}</li>
        {{/claims}}</ul></section>
        """

    static let cell = """
        <details class="cell" id="cell-{{anchor}}"><summary><span class="name">{{id}}</span> · {{place}}{{#time}} · {{time}}{{/time}}{{#mark}} · <strong class="{{markClass}}">{{mark}}</strong>{{/mark}}</summary>
        <pre><code>{{{code}}}</code></pre></details>
        {{#outputs}}<pre class="out{{class}}" tabindex="0" role="region" aria-label="{{label}}">{{text}}</pre>{{#cut}}<p class="note">{{cut}}</p>{{/cut}}
        {{/outputs}}{{#figures}}<figure>{{#source}}<img src="{{{source}}}" alt="{{alt}}">{{/source}}{{^source}}<p class="note">The figure could not be drawn here; its numbers are in the bundle.</p>{{/source}}<figcaption>{{title}}</figcaption></figure>
        {{/figures}}{{#claims}}<ul class="claims"><li class="{{class}}"><span class="words"><strong class="{{class}}">{{verdict}}</strong> {{text}}</span></li></ul>
        {{/claims}}
        """

    static let provenance = """
        <section class="panel"><h2 id="provenance">Where this comes from</h2>
        <dl>{{#facts}}<dt>{{name}}</dt><dd>{{value}}</dd>
        {{/facts}}</dl>
        {{#hasInputs}}<div class="scroll" tabindex="0" role="region" aria-label="Data read"><table><caption>Data read</caption><thead><tr><th scope="col">file</th><th scope="col">kind</th><th scope="col">licence</th><th scope="col">SHA-256</th></tr></thead><tbody>
        {{#inputs}}<tr><td>{{path}}</td><td>{{kind}}</td><td>{{licence}}</td><td><code>{{hash}}</code></td></tr>
        {{/inputs}}</tbody></table></div>{{/hasInputs}}
        {{#hasArtifacts}}<div class="scroll" tabindex="0" role="region" aria-label="Made by this run"><table><caption>Made by this run</caption><thead><tr><th scope="col">artifact</th><th scope="col" class="num">size</th><th scope="col">SHA-256</th></tr></thead><tbody>
        {{#artifacts}}<tr><td>{{path}}</td><td class="num">{{size}}</td><td><code>{{hash}}</code></td></tr>
        {{/artifacts}}</tbody></table></div>{{/hasArtifacts}}
        {{{flow}}}
        <h3>Replays</h3>
        {{#hasVerdicts}}<ul>{{#verdicts}}<li>{{replay}}: <strong>{{rung}}</strong>{{#detail}}, {{detail}}{{/detail}}</li>{{/verdicts}}</ul>{{/hasVerdicts}}{{^hasVerdicts}}<p>No replay of this run is on record. <code>study replay {{run}}</code> makes one.</p>{{/hasVerdicts}}
        {{#hasAttempts}}<p>{{attempts}}</p>{{/hasAttempts}}
        <details class="more"><summary>Environment ({{count}} facts)</summary><dl>{{#environment}}<dt>{{name}}</dt><dd>{{value}}</dd>
        {{/environment}}</dl></details></section>
        """

    static let cite = """
        <section><h2 id="cite">How to cite</h2>
        <pre>{{bibtex}}</pre>
        <details class="more"><summary>CITATION.cff</summary><pre>{{cff}}</pre></details></section>
        """
}
