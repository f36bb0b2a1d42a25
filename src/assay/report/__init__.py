"""Draws a stored study as HTML, Markdown, JSON and on the terminal.

Must not know: how to make a study.
Public: ``write.write_report``, ``html.render_html``, ``markdown.render_markdown``, ``document.show_document``,
``document.encode_document``, ``console.print_study``, ``card.render_card``, ``table.tabulate_trials``.
"""
