"""What cannot wait for a second person: one person puts it into force, for a reason; another confirms it."""

from aiohttp import web

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import load
from campaigns.book.recording import IntakeBusy, plan_changes
from campaigns.lifecycle.proposals import FILE_NAME, StepRefused, act_at_once, digest_of, put_into_force
from service.desk.approvals import Approvals, GatewaysNamed, lines_of_proposal, require_campaigns_alone
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.roles import Act


def rows(desk: Desk) -> list[Row]:
    """The addresses."""
    emergencies = Emergencies(desk)
    return [
        Row("POST", "/proposals/new/emergency", Act.ACT_AT_ONCE, emergencies.act),
        Row("POST", "/proposals/{id}/emergency", Act.ACT_AT_ONCE, emergencies.act_by_draft),
    ]


class Emergencies:
    """Handler of emergencies."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._approvals = Approvals(desk)

    async def act(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/proposals/new/emergency`: what was looked at takes effect at once.

        Without a reason, or when the plan is another one by now, nothing changes, and the page shows that plan.
        """
        del request
        form, now = visit.form, self._desk.clock()
        content, reason = form.get("text", ""), visit.reason
        page = self._approvals.form
        try:
            file = load(content.encode(), FILE_NAME)
            require_campaigns_alone(file)
            if not self._approvals.is_allowed(file, visit):
                return await page(visit, form, 403, "proposal_not_yours")
            async with self._desk.borrow() as connection:
                plan = await plan_changes(connection, file, [], now=now)
                if not plan.changes.lines:
                    return await page(visit, form, 422, "proposal_nothing")
                problem = None if reason else "reason_wanted"
                if problem is None and digest_of(plan) != form.get("plan"):
                    problem = "step_plan_changed"
                if problem is not None:
                    status = 422 if problem == "reason_wanted" else 409
                    return await page(visit, form, status, problem, plan=plan, content=content, file=file)
                made = await act_at_once(
                    connection, visit.who, file, now=now, reason=reason, looked_at=form.get("plan", "")
                )
        except StepRefused as refused:
            return await page(visit, form, 409, f"step_{refused.why}")
        except IntakeBusy:
            return await page(visit, form, 503, "step_busy")
        except ApplyRefused as refused:
            return await page(visit, form, 422, "proposal_refused", lines=lines_of_proposal(refused, visit))
        except GatewaysNamed:
            return await page(visit, form, 422, "proposal_gateways")
        return see_other(f"/desk/proposals/{made}")

    async def act_by_draft(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/proposals/{id}/emergency`: a draft that was kept, or what waits for a second person, takes
        effect at once. The draft ends, and leads to the emergency that it became.
        """
        proposal = await self._approvals.found(request, visit)
        if proposal is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        shown, reason = self._approvals.shown, visit.reason
        if not reason:
            return await shown(request, visit, 422, "reason_wanted")
        try:
            async with self._desk.borrow() as connection:
                made = await put_into_force(
                    connection, visit.who, proposal.id, now=self._desk.clock(), reason=reason,
                    looked_at=visit.form.get("plan", ""),
                )  # fmt: skip
        except StepRefused as refused:
            return await shown(request, visit, 409, f"step_{refused.why}")
        except ApplyRefused:
            return await shown(request, visit, 409, "proposal_refused")
        except IntakeBusy:
            return await shown(request, visit, 503, "step_busy")
        return see_other(f"/desk/proposals/{made}")
