<%@ page pageEncoding="UTF-8" %><%@ include file="/WEB-INF/visit.jspf" %><%
    response.setContentType("application/json");
    String id = request.changeSessionId();
%>{"version":"<%= version %>","backend":"<%= backend %>","session":"<%= id %>","known":<%= known %>,"hits":<%= hits %>,"new":<%= visit.isNew() %>}
