"""Renders jinja.json's templates with Jinja itself, set up as transformers sets it up: pip install jinja2.

ChatTemplateTests holds our interpreter to these texts and messages. Templates are written for the purpose.
"""
import json
from datetime import datetime

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda format: datetime(2024, 7, 4, 9, 5, 7).strftime(format)

names = {
    "messages": [
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "Caf\u00e9?\n\"Yes\" & 'no' <b>"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"type": "function", "function": {"name": "tide", "arguments": {"at": "noon", "n": [1, 2.5, None, True]}}}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]},
    ],
    "tools": None, "empty": [], "numbers": [3, 1, 2, 3], "text": "  The Tide rises; the tide falls.\r\n ",
    "unicode": "e\u0301\u00e9\U0001F469\u200d\U0001F469 \u00df\u0130", "n": 7, "x": 2.5, "yes": True,
    "map": {"b": 1, "a": {"c": [1, 2]}, "\u00e9": "\u00fc"}, "bos_token": "<s>",
}

templates = [
    # white space
    "a\n{% if yes %}\n  b\n{% endif %}\nc\n", "  {% if yes %}x{% endif %}  \n  {%- if yes -%}  y  {%- endif %}\n z",
    "x {{- ' a ' -}} y {{ n }}\n", "{# comment #}\nline\n  {#- c -#}  z", "a {%+ if yes %} b {% endif +%}\n c",
    "{% for i in [1,2] %}\n{{ i }}\n{% endfor %}\n\n", "{% raw %}{{ not }} {% this %}{% endraw %}\nend",
    "\n\n{% set q = 1 %}\n\n{{ q }}\n\n\n", "    {{ n }}\n    {% set z = 1 %}    \n    end", "a\r\nb\rc{{ '\\r\\n' }}",
    "{%- for m in messages %}\n    {{- m.role }}\n{%- endfor %}",
    # expressions
    "{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 6 / 3 }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 2.0 }} {{ 'a' * 3 }} {{ [1] + [2] }} {{ [0] * 3 }}", "{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 }} {{ 'a' == 1 }} {{ true == 1 }}",
    "{{ not yes or n and 0 }} {{ none or 'd' }} {{ '' or [] or 0 }} {{ 1 and 'x' }}", "{{ 'b' if n > 5 else 'c' }} {{ 'only' if n > 9 }}|",
    "{{ 'id' in text }} {{ 'Tide' in text }} {{ 3 in numbers }} {{ 9 not in numbers }} {{ 'b' in map }} {{ 'z' in map }}",
    "{{ numbers[0] }} {{ numbers[-1] }} {{ numbers[1:] }} {{ numbers[:-1] }} {{ numbers[::-1] }} {{ numbers[::2] }} {{ text[2:5] }} {{ text[::-1] }}",
    "{{ unicode[0] }}|{{ unicode[0:2] }}|{{ unicode | length }}|{{ unicode | upper }}|{{ unicode | lower }}|{{ unicode[-3:] }}",
    "{{ map.a.c[1] }} {{ map['a']['c'] }} {{ map }} {{ map.nothing }}|{{ nothing }}|{{ numbers[99] }}|", "{{ [1, 'a', none, true, 1.5, {'k': \"it's\"}] }} {{ (1, 2)[0] }}",
    "{{ 'tab\\tnl\\nq\\'q\\\"\\\\ \\u00e9 \\x41 \\q' }}", "{{ 'one' 'two' }} {{ \"d'q\" }} {{ 1_000 }} {{ 1e3 }} {{ 0.1 + 0.2 }} {{ -n }} {{ +n }} {{ - 3 | abs }}",
    "{{ {'a': 1, 'b': [1, 2]}['b'][1] }} {{ {}|length }} {{ {'x': {'y': 1}}.x.y }}", "{{ 'a' is string and n is number }} {{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(4) }}",
    # statements
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}{{ loop.revindex0 }}{{ m['role'] }};{% endfor %}",
    "{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}{% for k in map %}{{ k }}{% endfor %}", "{% for x in empty %}x{% else %}none{% endfor %}{% for x in numbers if x > 1 %}{{ x }}{{ loop.index0 }}{% endfor %}",
    "{% set x = 1 %}{% for i in [1,2] %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(found=false, n=0) %}{% for i in numbers %}{% set ns.n = ns.n + i %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.n }}{{ ns.found }}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}{{ range(1, 10, 3) | list }}{{ range(3)|length }}",
    "{% if n == 1 %}a{% elif n == 7 %}b{% else %}c{% endif %}{% if nothing %}d{% endif %}{% if empty %}e{% endif %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t = 'x' %}{% set block %}in {{ t }} {% endset %}[{{ block }}]",
    "{% set up | upper | trim %} shout {% endset %}[{{ up }}]{% filter upper %}low{% endfilter %}", "{% macro greet(name, mark='!') %}Hi {{ name }}{{ mark }}{% endmacro %}{{ greet('A') }}{{ greet('B', mark='?') }}{{ greet(name='C') }}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% with q = 3, r = 4 %}{{ q + r }}{% endwith %}{{ q }}", "{% for i in [1,2,3] %}{{ loop.cycle('a','b') }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}",
    "{% for a in [[1,2],[3,4]] %}{% for b in a %}{{ loop.index }}{{ b }}{% endfor %}{{ loop.index }}{% endfor %}",
    # filters, methods, tests
    "{{ text | trim }}|{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ text | length }}", "{{ text.split() }} {{ text.split(';') }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b  c'.split(' ') }} {{ 'a</t>b'.split('</t>')[-1] }}",
    "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'aXbX'.replace('X', '-') }} {{ 'aXbX' | replace('X', '-', 1) }} {{ 'abcb'.find('b') }} {{ 'abcb'.count('b') }} {{ 'abc'.find('z') }}",
    "{{ 'hELLO wORLD' | title }} {{ 'hELLO' | capitalize }} {{ \"it's a b\".title() }} {{ 'x'.upper() }} {{ 'a-b'.title() }}", "{{ numbers | join(', ') }} {{ messages | map(attribute='role') | join('|') }} {{ numbers | first }}{{ numbers | last }} {{ numbers | unique | list }} {{ numbers | sort }} {{ numbers | sort(reverse=true) }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | rejectattr('role', 'in', ['user']) | map(attribute='role') | list }} {{ [0, 1, none] | select | list }} {{ numbers | reject('odd') | list }}",
    "{{ messages[2].tool_calls | tojson }}\n{{ map | tojson(indent=2) }}\n{{ messages[1].content | tojson }}", "{{ nothing | default('d') }} {{ '' | default('d') }}| {{ '' | default('d', true) }} {{ none | default('d') }} {{ map.zz | d('e') }}",
    "{{ '3' | int + 1 }} {{ '3.7' | int }} {{ 'x' | int }} {{ 2.7 | int }} {{ '2.5' | float }} {{ 3 | string ~ 'a' }} {{ 'abc' | list }} {{ 'abc' | reverse }} {{ map | items | map('first') | list }} {{ map | dictsort | map('last') | list }}",
    "{{ nothing is defined }} {{ n is defined }} {{ none is none }} {{ map is mapping }} {{ numbers is iterable }} {{ 'a' is iterable }} {{ n is iterable }} {{ n is not none }} {{ map.zz is undefined }} {{ 'A' is upper }} {{ yes is boolean }} {{ yes is true }} {{ 1.5 is float }} {{ 1 is integer }} {{ yes is integer }}",
    "{{ 'a\\nb\\n\\nc' | indent(2) }}|{{ 'a\\nb' | indent(2, true) }}", "{{ map.get('b') }} {{ map.get('zz') }} {{ map.get('zz', 5) }} {{ map.keys() | list }} {{ map.values() | list }}", "{{ '<a href=\"x\">' | e }} {{ '<b>' | safe }} {{ 'a' if 'x' is string else 'b' }}",
    "{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %p %I') }}", "{% for m in messages %}{% if m.content is string %}s{% elif m.content is iterable %}{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] | trim }}{% endif %}{% endfor %}{% endif %}{% endfor %}",
    "{% if messages[0]['role'] == 'system' %}{%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}{%- set loop_messages = messages[1:] -%}{% else %}{% set loop_messages = messages %}{% endif %}{{ first_user_prefix }}{{ loop_messages | length }}",
    "{{ bos_token }}{%- if tools is not none and tools | length > 0 %}tools{%- elif not tools %}no tools{%- endif %}{{ messages[-1].role }}{{ messages[-1]['content'][0].text }}",
    # failures
    "{{ raise_exception('No: ' ~ n) }}", "{{ nothing.attribute }}", "{{ nothing['item'] }}", "{{ nothing + 'a' }}", "{{ 'a' + 1 }}", "{{ nothing() }}", "{{ 1 // 0 }}",
    "{{ n | unknown_filter }}", "{{ map.zz.y }}", "{% for a, b in [[1]] %}{% endfor %}", "{{ [1] < 'a' }}", "{{ n.x.y }}",
]

cases = []
for template in templates:
    case = {"template": template}
    try:
        case["rendered"] = environment.from_string(template).render(**names)
    except Raised as raised:
        case["raised"] = str(raised)
    except (jinja2.exceptions.TemplateError, TypeError, ZeroDivisionError, ValueError) as error:
        case["error"] = str(error)
    cases.append(case)
json.dump({"names": names, "cases": cases}, open("jinja.json", "w"), indent=1, ensure_ascii=True)
