import threading
import time

import pytest

from instrux.errors import InputError
from instrux.prompts import Limits, Template
from instrux.prompts.errors import TemplateLimitError

BILLION = 10**9


class Outside:
    data = 5

    def method(self):
        raise AssertionError("a template called it")


TOO_MUCH = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}",
    "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{{ 'a' * 10**10 }}",
    "{{ ['a'] * 10**10 }}",
    "{{ 'a' * n }}",
    "{{ 2**n }}",
    "{% set ns = namespace(x=3) %}{% for i in range(100) %}{% set ns.x = ns.x ** 9 %}{% endfor %}",
    "{% set ns = namespace(x=3) %}{% for i in range(100) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "{{ '%999999999d' | format(1) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (n, 1) }}",
    "{{ '%.999999999f' % 1.0 }}",
    "{{ ('%s' * 1000) % (('a' * 100000,) * 1000) }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{{ '{:>{w}}'.format(1, w=n) }}",
    "{{ '{x:999999999}'.format_map({'x': 1}) }}",
    "{{ ('{0}' * 10000).format('a' * 1000000) }}",
    "{{ 'a' | center(10**9) }}",
    "{{ 'a'.center(n) }}",
    "{{ 'a'.zfill(n) }}",
    "{{ 'a\tb'.expandtabs(n) }}",
    "{{ 'a b' | indent(n) }}",
    "{{ ('a b' * 1000) | wordwrap(1, wrapstring='x' * 1000000) }}",
    "{{ [1] | batch(10**9, 0) | list }}",
    "{{ [1] | slice(10**9) | list }}",
    "{{ 5 | round(-10**9) }}",
    "{{ [1] | tojson(indent=10**9) }}",
    "{{ ['a' * 1000000] * 1000 }}",
    "{{ (['a' * 1000000] * 1000) | join }}",
    "{% set l = [1] %}{% for i in range(100) %}{{ l.extend(l) or '' }}{% endfor %}",
    "{% set l = [1] %}{% for i in l %}{{ l.append(1) or '' }}{% endfor %}",
    "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}",
    "{% set ns = namespace(l=1, m=1) %}{% for i in range(100) %}{% set ns.l = (ns.l, ns.l) %}"
    "{% set ns.m = (ns.m, ns.m) %}{% endfor %}{{ ns.l == ns.m }}",
    "{% set ns = namespace(l=1) %}{% for i in range(99) %}{% set ns.l = namespace(a=ns.l, b=ns.l) %}"
    "{% endfor %}{{ ns.l }}",
    "{% set ns = namespace(l='a') %}{% for i in range(99) %}{% set ns.l = ns.l ~ ns.l %}{% endfor %}",
    "{% set ns = namespace(l='a') %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "{% set ns = namespace(l='aa') %}{% for i in range(99) %}{% set ns.l = ns.l.replace('a', ns.l) %}"
    "{% endfor %}",
    "{% set ns = namespace(l='aa') %}{% for i in range(99) %}{% set ns.l = ns.l.join(ns.l) %}{% endfor %}",
    "{% set ns = namespace(l='a') %}{% for i in range(99) %}{% set ns.l %}{{ ns.l }}{{ ns.l }}"
    "{% endset %}{% endfor %}",
    "{% set b = 'a' * 4000000 %}{% for i in range(100000) %}{{ b.upper()[0] }}{% endfor %}",
    "{% set b = [1] * 200000 %}{% for i in range(100000) %}{{ 2 in b }}{% endfor %}",
    "{% set b = [1] * 200000 %}{% for i in range(100000) %}{{ b | max }}{% endfor %}",
    "{{ ('a' * 1000000) | groupby('x') | list }}",
]

NOT_ALLOWED = [
    "{{ ''.__class__.__mro__ }}",
    "{{ ''['__class__'].x }}",
    "{{ '{0.__class__.__mro__}'.format('a') }}",
    "{{ (''.format_map)({'x': 1}).__class__.x }}",
    "{{ x.__init__.__globals__ }}",
    "{{ ('' | attr('__class__')).x }}",
    "{{ ([1] | map(attribute='__class__') | list)[0].x }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ namespace(a=1)._Namespace__attrs.x }}",
    "{% for i in [1] %}{{ loop._iterator.x }}{% endfor %}",
    "{{ lipsum.__globals__ }}",
    "{{ outside.method() }}",
    "{{ outside.data.x }}",
    "{{ function(1) }}",
    "{{ 'a'.translate({97: 'b'}) }}",
    "{{ (1).to_bytes(10**9, 'big') }}",
    "{% set l = [5] %}{{ l.sort(key='a'.center) }}",
    "{% include 'a' %}",
    "{% import 'os' as os %}",
    "{{ x | xmlattr }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "{% for a in [1] %}" * 50 + "{% endfor %}" * 50,
    "x" * 2**19,
]
ROW = {"n": BILLION, "x": "v", "outside": Outside(), "function": print}


@pytest.mark.parametrize("jinja", [*TOO_MUCH, *NOT_ALLOWED], ids=lambda jinja: jinja[:60])
def test_an_attack_ends_soon_in_an_input_error(jinja):
    started = time.thread_time()
    with pytest.raises(InputError, match=r"^template 'attack'") as raised:
        Template("attack", jinja).apply(ROW, truncate=False)
    assert time.thread_time() - started < 5
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("jinja", TOO_MUCH[:3])
def test_bounds_hold_on_any_thread(jinja):
    caught: list[BaseException] = []

    def render() -> None:
        try:
            Template("attack", jinja).apply({})
        except InputError as error:
            caught.append(error)

    thread = threading.Thread(target=render)
    thread.start()
    thread.join(timeout=30)
    assert len(caught) == 1 and isinstance(caught[0], TemplateLimitError)


def test_output_is_bounded_to_the_character():
    printing = Template("long", "{% for i in range(10) %}abcde{% endfor %}")
    assert printing.apply({}, limits=Limits(max_output=50)).parts == ["abcde" * 10]
    with pytest.raises(TemplateLimitError, match="prints more than 49 characters"):
        printing.apply({}, limits=Limits(max_output=49))


def test_the_same_template_is_too_much_every_time():
    looping = Template("loop", "{% for i in range(1000) %}{{ i }}{% endfor %}")
    for _ in range(3):
        with pytest.raises(TemplateLimitError, match="units of work"):
            looping.apply({}, limits=Limits(max_work=1000))


def test_processor_time_is_bounded_behind_the_units():
    slow = Template(
        "slow", "{% set b = 'a' * 4000000 %}{% for i in range(99999) %}{{ 'b' in b }}{% endfor %}"
    )
    with pytest.raises(TemplateLimitError, match="runs for more than"):
        slow.apply({}, truncate=False, limits=Limits(max_work=10**12, max_seconds=0.2))


def test_what_templates_do_stays_possible():
    useful = Template(
        "useful",
        "{% set l = [] %}{% for w in text.split() if w != 'b' %}{{ l.append(w.upper()) or '' }}"
        "{% endfor %}{{ l | join(', ') }} {{ '%s-%d' % ('x', 3) }} {{ '{:>4}'.format(1) }} "
        "{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}"
        "{{ ns.n }} {{ dict(a=1).items() | list }} {{ zip([1], [2]) | list }} {{ loop is defined }}",
    )
    assert useful.apply({"text": "a b c"}, truncate=False).parts == [
        "A, C x-3    1 6 [('a', 1)] [(1, 2)] False"
    ]
