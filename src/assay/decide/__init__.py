"""From trials and requirements to the next plans, or to a decision. Pure.

Must not know: files, runtimes, clocks.
Public: ``propose.propose``, ``propose.Capabilities``, ``propose.ModelTraits``, ``propose.Screened``,
``conclude.conclude``, ``assess.assess``, ``resolve.plan_items``, ``front.find_front``.
"""
