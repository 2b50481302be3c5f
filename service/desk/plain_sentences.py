"""What `apply` says in the words of its file, said again in the words of the desk's form.

A row stands for the sentence whose English form is its key; the others name nothing of the file. {field_...} is the
label of a field, the other places are those of the sentence.
"""

from collections.abc import Mapping
from types import MappingProxyType

PLAIN: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "must be text; put it in quotes": ("phải là chữ", "must be text"),
        "must be a whole number; write it without quotes, point or fraction": (
            "phải là số nguyên, không có phần lẻ", "must be a whole number, without a fraction",
        ),
        "needs a time zone, as in 2026-10-17T00:00:00+07:00": (
            "phải là ngày và giờ, như 2026-10-17T00:00", "must be a day and a time, as in 2026-10-17T00:00",
        ),
        "must be a time with a zone, as in 2026-10-17T00:00:00+07:00": (
            "phải là ngày và giờ, như 2026-10-17T00:00", "must be a day and a time, as in 2026-10-17T00:00",
        ),
        "{key} {old} -> {new}": ("“{key}”: {old} → {new}", "“{key}”: {old} → {new}"),
        "{key} changed": ("“{key}” thay đổi", "“{key}” changed"),
        "must be later than opens_at; it is the first instant not counted": (
            "phải muộn hơn “{field_opens_at}”; đây là thời điểm đầu tiên không còn được tính",
            "must be later than “{field_opens_at}”; it is the first instant not counted",
        ),
        "is required in the grammar {grammar}; add it": (
            "là bắt buộc với cú pháp “{grammar}”; hãy điền vào",
            "is required for texts of the form “{grammar}”; fill it in",
        ),
        "is required in the grammar {grammar}; add it, 1 to {max}": (
            "là bắt buộc với cú pháp “{grammar}”; hãy điền từ 1 đến {max}",
            "is required for texts of the form “{grammar}”; fill in 1 to {max}",
        ),
        "must be 1_000 in the grammar thousands; correct it or leave it out": (
            "phải là 1.000 với cú pháp “{grammar_thousands}”; hãy sửa lại hoặc để trống",
            "must be 1,000 for texts of the form “{grammar_thousands}”; correct it or leave it empty",
        ),
        "must be 1 to {max} in the grammar {grammar}; correct it": (
            "phải từ 1 đến {max} với cú pháp “{grammar}”; hãy sửa lại",
            "must be 1 to {max} for texts of the form “{grammar}”; correct it",
        ),
        "times max_units is over {max} VND; lower one of them": (
            "nhân với “{field_max_units}” vượt quá {max} đồng; hãy giảm một trong hai",
            "times “{field_max_units}” is over {max} VND; lower one of them",
        ),
        "is no organisation of this file or the database; add an [[organisation]] with this code": (
            "không phải là tổ chức nào đã có; hãy chọn một tổ chức trong danh sách",
            "is no organisation that there is; choose one of the list",
        ),
        'is no organisation of this file or the database; did you mean "{code}"?': (
            "không phải là tổ chức nào đã có; có phải ý bạn là “{code}”?",
            "is no organisation that there is; did you mean “{code}”?",
        ),
        "is missing; add at least one [[campaign.route]]": (
            "còn thiếu; hãy điền “{field_short_code}”, “{field_keywords}” và “{field_grammar}”",
            "is missing; fill in “{field_short_code}”, “{field_keywords}” and “{field_grammar}”",
        ),
        (
            '"{keyword}" on {code} has another grammar, unit_vnd or max_units than "{other}" of this campaign, and '
            "one text meets both; give both the same, or choose another keyword"
        ): (
            ("“{keyword}” ở đầu số {code} có “{field_grammar}”, “{field_unit_vnd}” hoặc “{field_max_units}” khác với "
            "“{other}” của cùng chiến dịch, mà một tin nhắn khớp với cả hai; hãy điền giống nhau, hoặc chọn từ khóa "
            "khác"),
            ("“{keyword}” on {code} differs in “{field_grammar}”, “{field_unit_vnd}” or “{field_max_units}” from "
            "“{other}” of this campaign, and one text meets both; give both the same, or choose another keyword"),
        ),
        (
            '"{keyword}" on {code} keeps its grammar, unit_vnd and max_units: messages were read by it; write '
            "{terms}, or choose another keyword"
        ): (
            ("“{keyword}” ở đầu số {code} phải giữ “{field_grammar}”, “{field_unit_vnd}” và “{field_max_units}” vì "
            "đã có tin nhắn theo từ khóa này: {terms}; nếu không, hãy chọn từ khóa khác"),
            ("“{keyword}” on {code} keeps “{field_grammar}”, “{field_unit_vnd}” and “{field_max_units}”: messages "
            "were read by it; leave {terms}, or choose another keyword"),
        ),
        "goes with hotline, the number that donors may ring; add that key too": (
            "phải đi cùng số điện thoại để người ủng hộ gọi; hãy thêm số đó",
            "goes with the number that donors may ring; add that number too",
        ),
        '  "{written}" in the file is texted as {keyword}': (
            "“{written}” được nhắn là {keyword}", "“{written}” is texted as {keyword}",
        ),
        (
            '"{keyword}" holds punctuation, which donors would have to text as it stands; several keywords are a list'
        ): (
            "“{keyword}” có dấu câu, người ủng hộ phải nhắn y như vậy; nhiều từ khóa thì cách nhau bằng dấu phẩy",
            ("“{keyword}” holds punctuation, which donors would have to text as it stands; between several keywords "
            "stands a comma"),
        ),
        "is midnight of UTC and 07:00 in Vietnam; midnight in Vietnam is written 00:00:00+07:00": (
            "là 07:00 ở Việt Nam, tức nửa đêm theo giờ UTC; nửa đêm ở Việt Nam là 00:00",
            "is 07:00 in Vietnam, which is midnight of UTC; midnight in Vietnam is 00:00",
        ),
    }
)  # fmt: skip
"""English form of the sentence: Vietnamese and English of the desk."""
