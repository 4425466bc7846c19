from datetime import timedelta

from odoo import _, api, fields, models
from odoo.exceptions import ValidationError


class LibraryLoan(models.Model):
    _name = 'library.loan'
    _description = 'Loan'
    _order = 'lent_on desc, id desc'
    _rec_name = 'book_id'

    book_id = fields.Many2one('library.book', required=True, ondelete='restrict', index=True)
    partner_id = fields.Many2one('res.partner', string='Reader', required=True, ondelete='restrict', index=True)
    lent_on = fields.Date(required=True, default=fields.Date.context_today)
    due_on = fields.Date(compute='_compute_due_on', store=True, readonly=False, precompute=True)
    returned_on = fields.Date()
    state = fields.Selection(
        [('lent', 'Lent'), ('returned', 'Returned')],
        compute='_compute_state', store=True,
    )

    _returned_after_lent = models.Constraint(
        'CHECK (returned_on >= lent_on)', "A book cannot come back before it was lent.",
    )

    @api.depends('lent_on')
    def _compute_due_on(self):
        for loan in self:
            loan.due_on = loan.lent_on and loan.lent_on + timedelta(weeks=3)

    @api.depends('returned_on')
    def _compute_state(self):
        for loan in self:
            loan.state = 'returned' if loan.returned_on else 'lent'

    @api.constrains('book_id', 'returned_on')
    def _check_lent_once(self):
        for loan in self.filtered(lambda loan: not loan.returned_on):
            others = self.search_count([
                ('book_id', '=', loan.book_id.id), ('returned_on', '=', False), ('id', '!=', loan.id),
            ], limit=1)
            if others:
                raise ValidationError(_("%(book)s is lent already.", book=loan.book_id.display_name))

    def action_return(self):
        self.filtered(lambda loan: not loan.returned_on).returned_on = fields.Date.context_today(self)
