from odoo import api, fields, models


class LibraryBook(models.Model):
    _inherit = 'library.book'

    loan_ids = fields.One2many('library.loan', 'book_id', string='Loans')
    is_lent = fields.Boolean(string='Lent', compute='_compute_is_lent', search='_search_is_lent')

    @api.depends('loan_ids.returned_on')
    def _compute_is_lent(self):
        for book in self:
            book.is_lent = any(not loan.returned_on for loan in book.loan_ids)

    def _search_is_lent(self, operator, value):
        if operator != 'in':
            return NotImplemented
        return [('loan_ids', 'any', [('returned_on', '=', False)])]
